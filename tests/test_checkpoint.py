"""A run refuses the checkpoint of another training."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY, Ended


@pytest.mark.slow
def test_checkpoint_of_another_training_is_refused(tmp_path: Path, run: Callable[..., Ended]) -> None:
    command = (*TINY, f"hydra.run.dir={tmp_path}", "trainer.max_epochs=1")
    assert run(*command).code == 0
    before = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    for other in ("optimizer.lr=0.5", "seed=9", "dataset.batch_size=64", "scheduler=linear_decay"):
        ended = run(*command, other)
        assert ended.code == 1
        assert other.partition(".lr")[0].partition("=")[0] in ended.line
    ended = run(*command[:-1], "trainer.max_epochs=0")
    assert ended.code == 1
    assert "trainer.max_epochs=0" in ended.line
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == before
    assert run(*command, "optimizer.lr=0.5", "resume=null").code == 1  # a new run, in the folder of another
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == before
