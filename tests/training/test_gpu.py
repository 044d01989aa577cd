"""Laws that need a GPU: a step waits for nothing, compiles to the same losses, and keeps to its memory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor

from adamct import kernels
from adamct.batch import Batch, BatchNeeds, DataSpec
from adamct.losses.cross_entropy import cross_entropy
from adamct.models.base import VectorModel
from adamct.training.step import compiled, training_loss
from adamct.values import CompileMode
from datamodules.sequences import Sequences, TrainingBatches
from tests.conftest import MODELS, TINY, UNTRAINED, Ended
from tests.training.dropout import without_dropout

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

SPEC = DataSpec(num_items=30, num_users=8, max_len=12, item_counts=torch.arange(31.0))
GPU = torch.device("cuda")


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, build: Callable[..., Any]) -> VectorModel:
    """Build a model without dropout on the GPU."""
    torch.manual_seed(0)
    if request.param in UNTRAINED:
        pytest.skip("nothing to learn")
    return without_dropout(build(SPEC, f"model={request.param}")).to(GPU)


def batches(width_multiple: int = 4) -> TrainingBatches:
    """Return training batches of three widths whose store is on the GPU."""
    lengths = torch.tensor([6, 8, 9, 10, 12, 14, 14, 15])
    items = torch.randint(1, SPEC.num_items + 1, (int(lengths.sum()),), generator=torch.Generator().manual_seed(0))
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    sequences = Sequences(items, offsets, offsets[1:] - 2, SPEC.max_len).to(GPU)
    return TrainingBatches(sequences, sequences.prefixes(), 8, 0, BatchNeeds(width_multiple=width_multiple))


def train(model: VectorModel, loss: Callable[[VectorModel, Batch], Tensor], epochs: int = 2) -> list[float]:
    """Train a model and return the loss of every step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    losses, data = [], batches()
    for epoch in range(epochs):
        data.set_epoch(epoch)
        for batch in data:
            value = loss(model, batch)
            optimizer.zero_grad()  # after the loss, as Lightning does
            value.backward()
            optimizer.step()
            losses.append(value.detach().clone())
    return torch.stack(losses).tolist()


def test_no_step_waits_for_the_gpu(model: VectorModel) -> None:
    if model.all_positions:
        pytest.skip("waits for the number of its predictions")
    train(model, training_loss, epochs=1)  # libraries wait when first used
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    optimizer.zero_grad()
    training_loss(model, next(iter(batches()))).backward()
    optimizer.step()  # makes its state
    data = iter(batches())
    next(data)  # moves the epoch's plan
    try:
        torch.cuda.set_sync_debug_mode("error")
        for batch in data:
            optimizer.zero_grad()
            training_loss(model, batch).backward()
            optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_steps_have_the_losses_of_eager_ones(
    model: VectorModel, mode: CompileMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    if model.all_positions:
        pytest.skip("is not compiled")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checks cannot be traced
    start = {name: value.clone() for name, value in model.state_dict().items()}
    eager = train(model, training_loss)
    model.load_state_dict(start)
    losses = train(model, compiled(training_loss, mode, model, num_widths=3))
    assert losses == pytest.approx(eager, rel=1e-3)


def test_half_precision_does_not_change_the_loss(model: VectorModel) -> None:
    batch, values = next(iter(batches())), []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cuda", torch.bfloat16, enabled):
            values.append(training_loss(model, batch))
    torch.testing.assert_close(*values, rtol=0.05, atol=0)
    values[1].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_the_loss_of_many_predictions_holds_few_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    count, num_items, size = 2**14, 2**13, 32  # logits of half a GiB
    queries, table = (torch.randn(rows, size, device=GPU, requires_grad=True) for rows in (count, num_items + 1))
    targets = torch.randint(1, num_items + 1, (count,), device=GPU)
    results, peaks = [], []
    for most in (count * num_items, count * num_items // 16):
        monkeypatch.setitem(kernels.LOGITS_AT_ONCE, "cuda", most)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss = cross_entropy(queries, table, None, targets)
        results.append((loss.detach(), *torch.autograd.grad(loss, [queries, table])))
        del loss
        peaks.append(torch.cuda.max_memory_allocated() - before)
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-5)
    assert peaks[1] < peaks[0] / 4


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_runs_have_the_losses_of_eager_ones(
    mode: str, run: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    still = (*TINY, "model.dropout=0", "model.attn_dropout=0", "trainer.accelerator=gpu")
    histories = []
    for number, keys in enumerate([("compile=null",), (f"compile={mode}", "compile_widths=25")]):
        assert not run(*still, *keys, f"hydra.run.dir={tmp_path / str(number)}").code
        histories.append(json.loads((tmp_path / str(number) / "results.json").read_text())["history"]["train/loss"])
    assert histories[1] == pytest.approx(histories[0], rel=1e-2)
