"""The keys of Lightning for the times of validation: runs choose and record only validated weights."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import TINY, Ended

Run = Callable[..., Ended]
MONITOR = "val/uni20/ndcg@10"


def validations(folder: Path) -> list[tuple[int, float]]:
    """Return the step and the score of each validation, from the log."""
    with (folder / "csv/version_0/metrics.csv").open() as file:
        return [(int(row["step"]), float(row[MONITOR])) for row in csv.DictReader(file) if row[MONITOR]]


def best(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)


@pytest.mark.slow
def test_every_second_epoch_can_be_validated(tmp_path: Path, run: Run) -> None:
    keys = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=5", "trainer.num_sanity_val_steps=1")
    assert run(*TINY, *keys, f"hydra.run.dir={tmp_path}").code == 0
    record = json.loads((tmp_path / "results.json").read_text())
    history = record["history"]
    for name in (MONITOR, "val/full/mrr", "mixture/layer1/mean"):
        assert [value is not None for value in history[name]] == [False, True, False, True, False]
    assert all(history["train/loss"])
    assert len(history["train/loss"]) == 5
    assert record["chosen"]["uni20"]["epoch"] == (2 if history[MONITOR][1] >= history[MONITOR][3] else 4)
    assert record["metrics"][MONITOR] == max(history[MONITOR][1::2]) == best(tmp_path)["val_scores"][MONITOR]
    assert record["cost"]["epochs"] == 5


def test_weights_within_an_epoch_are_the_validated_ones(tmp_path: Path, run: Run) -> None:
    keys = ("trainer.val_check_interval=2", "trainer.max_epochs=2", "patience=100", "optimizer.lr=0.1")
    assert run(*TINY, *keys, f"hydra.run.dir={tmp_path}").code == 0
    steps, scores = zip(*validations(tmp_path), strict=True)
    assert len(steps) > 2
    assert best(tmp_path)["global_step"] == steps[int(np.argmax(scores))] + 1  # logged by the number of the last step
    assert best(tmp_path)["val_scores"][MONITOR] == pytest.approx(max(scores), abs=1e-6)


@pytest.mark.slow
def test_patience_counts_validations(tmp_path: Path, run: Run) -> None:
    keys = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=20", "patience=2", "optimizer.lr=0.0")
    assert run(*TINY, *keys, f"hydra.run.dir={tmp_path}").code == 0
    assert len(validations(tmp_path)) == 3  # the first is the best


@pytest.mark.parametrize("key", ["trainer.max_epochs=0", pytest.param("trainer.max_steps=1", marks=pytest.mark.slow)])
def test_without_validation_old_weights_are_not_chosen(key: str, tmp_path: Path, run: Run) -> None:
    command = (*TINY, f"hydra.run.dir={tmp_path}")
    assert run(*command, "trainer.max_epochs=1").code == 0
    results = (tmp_path / "results.json").read_bytes()
    ended = run(*command, key, "resume=null")
    assert ended.code == 1
    assert "before any validation" in ended.line
    assert key.partition("=")[0].partition(".")[2] in ended.line
    assert (tmp_path / "earlier_results.json").read_bytes() == results


@pytest.mark.slow
def test_without_validation_nothing_is_recorded(tmp_path: Path, run: Run) -> None:
    ended = run(*TINY, "+trainer.fast_dev_run=true", f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert "before any validation" in ended.line
    assert not (tmp_path / "results.json").exists()


@pytest.mark.slow
def test_a_requested_profile_is_printed(tmp_path: Path, run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(*TINY, "trainer.profiler=simple", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}").code == 0
    assert "training_step" in "".join(capfd.readouterr())
