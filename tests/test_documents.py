"""The documents and the config name only what exists, and their commands compose."""

import argparse
import re
import shlex
import tomllib
from collections.abc import Callable
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hydra.utils import get_object
from omegaconf import DictConfig

from tests.conftest import CONF, run_module

ROOT = CONF.parent
READMES = [folder / "README.md" for folder in (ROOT, CONF, ROOT / "benchmarks", ROOT / "reports")]
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
"""Its commands are wrong on purpose."""
PAGES = sorted(set((ROOT / "docs").rglob("*.md")) - {TROUBLESHOOTING})
DOCUMENTS = [*READMES, ROOT / "CONTRIBUTING.md", *PAGES]
PLACEHOLDER = re.compile(r"\b(NAME|FOLDER|MODEL|DATASET)\b|\.\.\.|install=")
GENERATED = re.compile(r"<!-- results: .*?<!-- end -->", re.S)
"""The table of results, whose commands are those of recorded runs."""
WRITTEN_BY_RUNS = {"config.yaml", "multirun.yaml", "table.md", "outputs/debug"}
ELSEWHERE = ("srun", "git clone", "wandb", "tensorboard", "docker", "uv", "#!", "#SBATCH", "date", "jupyter")
"""The beginnings of commands of other programs."""


def blocks(document: Path) -> list[str]:
    """Return each line of the fenced blocks."""
    found = re.findall(r"```bash\n(.*?)```", document.read_text(), re.S)
    return [line.split("  #")[0] for block in found for line in block.splitlines()]


def snippets(document: Path) -> list[str]:
    """Return each line of the fenced blocks and each text in backticks."""
    text = re.sub(r"```.*?```", "", GENERATED.sub("", document.read_text()), flags=re.S)
    return [*blocks(document), *re.findall(r"`([^`]+)`", text)]


def commands(beginning: str) -> list[str]:
    """Return the rest of every command that begins with some words, such as ``python run.py``."""
    parts = (
        part
        for document in DOCUMENTS
        for snippet in snippets(document)
        for part in " ".join(snippet.split()).split(" && ")
    )
    return sorted({part.partition(beginning)[2].strip() for part in parts if beginning in part})


def first_values(words: list[str]) -> list[str]:
    """Return overrides with the first value of each that a sweep varies, without those that a search draws."""
    return [word if set("{[") & set(word) else word.split(",")[0] for word in words if "interval(" not in word]


RUNS = [
    command
    for beginning in ("python run.py", "adamct run")
    for command in commands(beginning)
    if not PLACEHOLDER.search(command)
]


@pytest.mark.parametrize("command", RUNS)
def test_commands_of_the_documents_compose(command: str, configure: Callable[..., DictConfig]) -> None:
    words = [word for word in shlex.split(command) if word != "-m"]
    overrides = first_values(list(takewhile(lambda word: not word.startswith("-"), words)))
    assert "_target_" in configure(*overrides).model


class Parsed(Exception):
    """The command line of a module was accepted."""


MODULES = [command for command in commands("python -m") if not command.startswith("mkdocs")]
SLOW_IMPORT = "adamct.serving.export"


@pytest.mark.parametrize(
    "command", [pytest.param(c, marks=[pytest.mark.slow] * c.startswith(SLOW_IMPORT)) for c in MODULES]
)
def test_modules_in_the_documents_accept_their_arguments(
    command: str, configure: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(parser: argparse.ArgumentParser, *args: Any) -> NoReturn:
        parse_known(parser, *args)
        raise Parsed

    parse_known = argparse.ArgumentParser.parse_args
    module, *words = shlex.split(command)
    monkeypatch.setattr("sys.argv", [module, *(words or ["FOLDER"] * (module == "adamct.report"))])
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    with pytest.raises(Parsed):
        run_module(module)
    configure(*(word for word in words if "=" in word))


def test_a_module_that_a_test_runs_leaves_no_bytecode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached module would have the type checks of the tests, and could not run outside them."""
    monkeypatch.setattr("sys.pycache_prefix", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["dashboard", "--help"])
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    with pytest.raises(SystemExit):
        run_module("adamct.dashboard")
    assert not list(tmp_path.rglob("__main__.cpython-*.pyc"))


def test_every_other_command_is_known() -> None:
    """The documents install extras that exist, run tests by markers that exist, and name no unknown program."""
    lines = {line.strip() for document in DOCUMENTS for line in blocks(document) if line.strip()}
    parts = {part for line in lines if not line.startswith("# ") for part in line.split(" && ")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    markers = {line.partition(":")[0] for line in project["tool"]["pytest"]["ini_options"]["markers"]}
    rest = {part for part in parts if not part.startswith(("python run.py", "python -m", "adamct ", *ELSEWHERE))}
    installs = {part for part in rest if part.startswith("pip install")}
    tests = {part for part in rest if part.startswith("pytest")}
    assert {extra for part in installs for extra in re.findall(r"\[(\w+)\]", part)} <= set(extras)
    assert {marker for part in tests for marker in re.findall(r"-m (\w+)", part)} <= markers
    files = [word for part in tests for word in part.split() if word.endswith(".py")]
    assert [file for file in files if not (ROOT / file).exists()] == []
    others = {part for part in rest - installs - tests if not (ROOT / part.split()[0]).exists()}
    assert others <= {"pre-commit install"}


def missing(document: Path) -> list[str]:
    """Return the files and folders that a document names and that do not exist."""
    text = document.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    named = [name for name in snippets(document) if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", name)]
    tops = {path.name for path in ROOT.iterdir()}
    paths = [
        name
        for name in named
        if name.endswith((".py", ".yaml", ".md", ".toml")) or ("/" in name and name.split("/")[0] in tops)
    ]
    wanted = [path for path in [*filter(None, links), *paths] if not PLACEHOLDER.search(path)]
    return [path for path in wanted if path not in WRITTEN_BY_RUNS and not exists(path, document.parent)]


@cache
def sources() -> set[str]:
    return {path.name for folder in ("adamct", "datamodules", "benchmarks") for path in (ROOT / folder).rglob("*.py")}


def exists(path: str, folder: Path) -> bool:
    return (folder / path).exists() or (ROOT / path).exists() or path in sources()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_path_in_a_document_exists(document: Path) -> None:
    assert missing(document) == []


def test_missing_paths_are_found(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("[a](a/b.md) `adamct/nowhere/` `other.py` `conf/model/NAME.yaml` `run.py` [b](https://x.y/z)")
    assert missing(document) == ["a/b.md", "adamct/nowhere/", "other.py"]


TARGETS = {
    target
    for file in sorted(CONF.rglob("*.yaml"))
    for target in re.findall(r"_target_: *[\"']?([\w.]+)", file.read_text())
}


def test_documents_have_commands_and_conf_has_targets() -> None:
    assert len(TARGETS) > 40
    assert len(RUNS) > 40
    assert len(commands("python -m")) > 5


def test_every_target_in_conf_can_be_imported() -> None:
    assert [target for target in sorted(TARGETS) if not callable(get_object(target))] == []
