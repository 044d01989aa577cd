"""The log file of a run: its decisions and its progress."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY, Ended


def test_run_log_has_decisions_and_every_epoch(
    tmp_path: Path, run: Callable[..., Ended], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*TINY, "trainer.max_epochs=2", f"hydra.run.dir={tmp_path}").code == 0
    messages = [line.partition(" - ")[2] for line in (tmp_path / "run.log").read_text().splitlines()]
    console = capsys.readouterr().out
    kinds = ["threads:", "epoch 1: train/loss ", "epoch 2: train/loss ", "test of ", f"results: {tmp_path}"]
    assert all(any(message.startswith(kind) for message in messages) for kind in kinds)
    for message in messages:
        assert (message in console) == (not message.startswith("epoch "))


def test_a_resumed_run_continues_its_log(tmp_path: Path, run: Callable[..., Ended]) -> None:
    for epochs in (1, 2):
        assert run(*TINY, f"trainer.max_epochs={epochs}", f"hydra.run.dir={tmp_path}").code == 0
    text = (tmp_path / "run.log").read_text()
    assert text.count("epoch 1: ") == text.count("epoch 2: ") == 1
    assert f"resumed from {tmp_path / 'checkpoints' / 'last.ckpt'}" in text


def test_hydras_own_job_logging_still_works(tmp_path: Path, run: Callable[..., Ended]) -> None:
    command = (*TINY, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}")
    assert run(*command, "hydra/job_logging=disabled").code == 0
    assert not (tmp_path / "run.log").exists()
