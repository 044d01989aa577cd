"""The command line: overrides that Hydra cannot read, flags in any place, and errors of one line unless asked."""

import os
import subprocess
from collections.abc import Callable

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException, OverrideParseException

from adamct.errors import explain
from adamct.runs.job import overrides_first
from tests.conftest import Ended

Run = Callable[..., Ended]


def unreadable(override: str) -> str:
    """Return the line for an override that Hydra cannot parse."""
    with pytest.raises(OverrideParseException) as refused:
        OverridesParser.create().parse_overrides([override])
    line = explain(refused.value)
    assert line is not None
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("ckpt=runs/seed=1/checkpoints", "runs/seed=1/checkpoints"),
        ("dataset.path=log (1).csv", "log (1).csv"),
        ("dataset.path=données.csv", "données.csv"),
        ("label=Bob's", "Bob's"),
        ("label='Bob's'", "Bob's"),
        ('label=Bob\'s "$HOME"', 'Bob\'s "$HOME"'),
        ("predict.columns.separator=;", ";"),
    ],
)
def test_text_without_quotes_is_given_back_with_quotes(override: str, text: str) -> None:
    beginning, _, word = unreadable(override).partition(" the shell's quotes: ")
    assert beginning == f"{override}: the value cannot be read; if it is text, put it in quotes within"
    read = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, text=True, check=True).stdout
    (parsed,) = OverridesParser.create().parse_overrides([read])
    assert (parsed.key_or_group, parsed.value()) == (override.partition("=")[0], text)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed", "seed: must be KEY=VALUE"),
        ("seed =1", "seed =1: must be KEY=VALUE"),
        ("seed=int(x)", "Error parsing override 'seed=int(x)' ValueError while evaluating 'int(x)': invalid literal"),
    ],
)
def test_other_unreadable_overrides_are_errors_of_one_line(override: str, line: str) -> None:
    assert unreadable(override).startswith(line)


@pytest.mark.parametrize(
    ("arguments", "ordered"),
    [
        ("model=sasrec -m seed=1,2", "model=sasrec seed=1,2 -m"),
        ("-cn config seed=1 -cp=folder label=x --cfg job", "seed=1 label=x -cn config -cp=folder --cfg job"),
        ("seed=1 --info", "seed=1 --info"),
    ],
)
def test_flags_may_stand_between_overrides(arguments: str, ordered: str) -> None:
    assert overrides_first(arguments.split()) == ordered.split()


@pytest.mark.slow
def test_a_sweep_starts_with_its_flag_between_overrides(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("seed=1,2", "-m", "preview=true").code == 0
    assert "2 jobs: 2 to do" in capsys.readouterr().out


def test_the_users_setting_shows_tracebacks_in_every_process(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    assert "must be one of" in run("model=nope").line
    assert "HYDRA_FULL_ERROR" not in os.environ  # which the processes that a command starts inherit
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(MissingConfigException):
        run("model=nope")
