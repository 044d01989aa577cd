"""Every precision of the trainer trains every model to its results, or is refused before training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from lightning_fabric.plugins.precision.precision import _PRECISION_INPUT_STR  # pyright: ignore[reportPrivateUsage]

from adamct.batch import DataSpec
from adamct.errors import InputError
from adamct.training.precision import require_supported
from adamct.training.step import training_loss
from tests.conftest import MODELS, SPARSE, TINY, UNTRAINED, Ended

WORKING = ("32-true", "64-true", "bf16-true", "bf16-mixed")
"""The precisions that train on a CPU."""
REFUSED = sorted(set(get_args(_PRECISION_INPUT_STR)) - set(WORKING))
FEW = {("adamct", "bf16-true"), ("gcsan", "64-true")}


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        pytest.param(model, precision, marks=[] if (model, precision) in FEW else pytest.mark.slow)
        for model in MODELS
        for precision in WORKING
    ],
)
def test_a_run_of_every_precision_ends_with_its_results(
    model: str, precision: str, run: Callable[..., Ended], tmp_path: Path
) -> None:
    learns = model not in UNTRAINED
    keys = [key for key in TINY if learns or not key.startswith("model.")]
    stages = "stages=[fit,test,predict]" if model not in ("caser", "hgn") else "stages=[fit,test]"
    ended = run(*keys, f"model={model}", f"trainer.precision={precision}", stages, f"hydra.run.dir={tmp_path}")
    assert ended == Ended(0, "")
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["cost"]["flops_per_query"] is None) == (model in SPARSE)
    assert results["config"]["trainer"]["precision"] == precision
    losses = results["history"].get("train/loss", [1.0, 0.0])
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "precision", ["16-true", *(pytest.param(one, marks=pytest.mark.slow) for one in REFUSED if one != "16-true")]
)
def test_other_precisions_are_refused_before_training(
    precision: str, run: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = run(*TINY, f"trainer.precision={precision}", f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert f"trainer.precision={precision}: " in ended.line
    assert "\n" not in ended.line
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("precision", "device", "selected"),
    [
        ("16-mixed", "cuda", "16-mixed"),
        (16, "cuda", "16-mixed"),
        ("bf16", "cpu", "bf16-mixed"),
        (64, "cuda", "64-true"),
        (None, "mps", "32-true"),
    ],
)
def test_a_precision_that_a_device_has_is_kept(precision: Any, device: str, selected: str) -> None:
    require_supported(precision, selected, torch.device(device))


@pytest.mark.parametrize(
    ("precision", "device", "selected"),
    [(16, "cpu", "bf16-mixed"), (64, "mps", "64-true"), ("64-true", "mps", "64-true")],
)
def test_a_precision_that_a_device_lacks_is_refused(precision: Any, device: str, selected: str) -> None:
    with pytest.raises(InputError, match=f"trainer.precision={precision}: .*{device}"):
        require_supported(precision, selected, torch.device(device))


def test_loss_of_half_precision_weights_is_single_precision(
    build: Callable[..., Any], histories: Callable[..., Any]
) -> None:
    spec = DataSpec(num_items=30, num_users=8, max_len=12, item_counts=torch.arange(31.0))
    batch = histories((1, 2, 3, 4, 5, 6, 8, 9), spec.max_len, spec.num_items)
    for model, dtype in (("adamct", torch.bfloat16), ("caser", torch.bfloat16), ("hgn", torch.float64)):
        loss = training_loss(build(spec, f"model={model}").to(dtype).eval(), batch)
        assert loss.dtype == torch.promote_types(dtype, torch.float32)
