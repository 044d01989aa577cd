"""What a run says: in its log file, and on the console."""

import io
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from adamct.runs.console import duration, is_live, mute
from tests.conftest import TINY, Ended

Run = Callable[..., Ended]
FACTS = ("dataset", "model", "device", "seed", "threads", "folder", "start")


def facts(text: str) -> dict[str, str]:
    """Return the facts of the block at a run's start, by name."""
    return dict(re.findall(rf"^({'|'.join(FACTS)}) +(.+)$", text, re.MULTILINE))


def test_console_and_log_have_the_start_every_epoch_and_the_scores(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a[b]"  # looks like markup
    assert run(*TINY, "trainer.max_epochs=2", f"hydra.run.dir='{folder}'").code == 0
    console, log = capsys.readouterr().out, (folder / "run.log").read_text()
    for text in (console, log):
        assert facts(text).keys() == {*FACTS}
        assert re.search(
            r"epoch 1/2: loss [\d.]+; ndcg@10 uni20 [\d.]+ \(best\), full .*full_unseen .* left$", text, re.M
        )
        assert re.search(r"epoch 2/2: loss [\d.]+; ndcg@10 uni20 [^;]+$", text, re.M)
        assert all(words in text for words in ("test of ", "recall@5", f"results: {folder}"))
    shown = facts(console)
    parameters = json.loads((folder / "results.json").read_text())["cost"]["parameters"]
    assert shown["dataset"] == "synthetic"
    assert shown["model"] == f"AdaMCT, {parameters:,} parameters"
    assert (shown["device"], shown["seed"], shown["folder"]) == ("cpu", "212", str(folder))
    assert shown["start"] == "from the beginning"


@pytest.mark.usefixtures("ascii_locale")
def test_an_ascii_console_shows_other_characters_as_question_marks(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(console := io.BytesIO(), "ascii", write_through=True))
    assert run(*TINY, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}").code == 0
    assert "\u2500" * 9 in (tmp_path / "run.log").read_text(encoding="utf-8")
    assert b"?" * 9 in console.getvalue()
    assert "Logging error" not in capsys.readouterr().err


def test_a_resumed_run_continues_its_log_and_says_where(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for epochs in (1, 2):
        assert run(*TINY, f"trainer.max_epochs={epochs}", f"hydra.run.dir={tmp_path}").code == 0
    text = (tmp_path / "run.log").read_text()
    assert text.count("epoch 1/") == text.count("epoch 2/") == 1
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert facts(capsys.readouterr().out.rpartition("dataset ")[2])["start"] == f"from {last}, in epoch 2"


def test_a_muted_console_shows_warnings_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich takes the console for a terminal
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.root, "handlers", [handler])
    logger = logging.getLogger("adamct")
    monkeypatch.setattr(logger, "level", logging.INFO)
    mute()
    logger.info("an epoch")
    logger.warning("a warning")
    assert capsys.readouterr().err == "a warning\n"
    assert not is_live()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599.0, "59 min 59 s"), (90_061.0, "25 h 1 min")]
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
