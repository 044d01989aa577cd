"""Two processes rank and train as one does."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import CONF, TINY, Ended


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        ("model.attn_dropout=0.0",),
        ("model=lrurec", "model.recurrence_dropout=0.0", "model.num_layers=1"),  # predicts all items of a history
    ],
)
def test_two_processes_equal_one(model: tuple[str, ...], tmp_path: Path, run: Callable[..., Ended]) -> None:
    # Dropout is drawn by each process for its own share of a batch, so it is left out. Sums of gradients are rounded
    # differently: in double precision by too little to change any rank.
    common = (*TINY, "model.dropout=0.0", *model, "trainer.precision=64-true")
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert run(*common, f"hydra.run.dir={alone}").code == 0
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    command = [sys.executable, str(CONF.parent / "run.py"), *common, *ddp, f"hydra.run.dir={together}"]
    subprocess.run(command, check=True)
    one, two = (json.loads((folder / "results.json").read_text()) for folder in (alone, together))
    for metrics in ("metrics", "references"):
        assert one[metrics].keys() == two[metrics].keys()
    assert two["references"] == one["references"]
    assert two["metrics"].keys() == one["metrics"].keys()
    assert all(abs(two["metrics"][name] - value) <= 1e-6 for name, value in one["metrics"].items())
    with np.load(alone / "ranks.npz") as ours, np.load(together / "ranks.npz") as theirs:
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
