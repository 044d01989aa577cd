"""``python run.py --help`` names every config group, and its keys and examples work."""

import re
import shlex
from collections.abc import Callable

import pytest
import yaml
from omegaconf import DictConfig

from tests.conftest import CONF, Ended

HELP = yaml.safe_load((CONF / "hydra" / "help" / "run.yaml").read_text())["template"]
NOT_CHOSEN = {"hydra/help", "hydra/hydra_logging", "hydra/job_logging"}
"""The groups that a user has no reason to choose from."""


def section(title: str) -> str:
    return HELP.partition(f"== {title}")[2].partition("==\n")[2].partition("\n==")[0]


def test_the_help_names_every_group() -> None:
    folders = {str(path.parent.relative_to(CONF)) for path in CONF.rglob("*.yaml")} - {".", *NOT_CHOSEN}
    groups = {"tuned/DATASET" if group.startswith("tuned/") and group != "tuned/model" else group for group in folders}
    named = set(re.findall(r"(?:^  |, )([\w/]+)(?=\s\s|,|$)", section("Groups"), re.M))
    assert groups - named == set()


def test_its_keys_are_keys(configure: Callable[..., DictConfig]) -> None:
    keys = [word for word in section("Ten useful keys").split() if "=" in word and "hydra." not in word]
    assert len(keys) > 9
    configure("dataset=beauty", *keys)


@pytest.mark.parametrize("command", re.findall(r"python run\.py(.*?)(?:  |$)", section("Five examples"), re.M))
def test_its_examples_compose(command: str, run: Callable[..., Ended]) -> None:
    words = [word.split(",")[0] for word in shlex.split(command) if word != "-m"]
    assert run("--cfg", "job", *words) == Ended(0, "")


def test_it_is_what_is_printed(run: Callable[..., Ended], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == Ended(0, "")
    printed = capsys.readouterr().out
    assert "== Five examples ==" in printed
    assert "dataset: amazon, beauty" in printed
    assert max(map(len, (line for line in printed.splitlines() if not re.match(r"[\w/]+: ", line)))) <= 120
