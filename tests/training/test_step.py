"""A training step waits for nothing, compiles once for each shape, and has the same loss in half precision."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jaxtyping
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from adamct.batch import Batch, DataSpec
from adamct.models.base import VectorModel
from adamct.training import step
from adamct.training.step import training_loss
from tests.conftest import MODELS, TINY, Ended
from tests.training.dropout import without_dropout

Run = Callable[..., Ended]
Build = Callable[..., Any]

SPEC = DataSpec(num_items=30, num_users=8, max_len=12, item_counts=torch.arange(31.0))
LENGTHS = (1, 2, 3, 4, 5, 6, 8, 9)
EPOCH = ("stages=[fit]", "trainer.max_epochs=1", "dataset.batch_size=32")


class Reads(TorchDispatchMode):
    """A mode that counts operations which read a value, or a number of values, from a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "masked_select")
        return func(*args, **(kwargs or {}))


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def clock(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Let some seconds pass between two reads of the clock by the progress bar."""
    monotonic = count(0, seconds).__next__
    monkeypatch.setattr("adamct.training.progress.time", SimpleNamespace(monotonic=monotonic))


def test_no_step_reads_from_the_device(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamct.training.trainer.is_live", lambda: True)
    clock(monkeypatch, 0)  # the bar reads the loss once, however long the run takes
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # leaves out the reads that only a CPU makes
    counts = []
    for steps in (3, 9):
        with Reads() as reads:
            bounds = (f"trainer.limit_train_batches={steps}", "trainer.enable_progress_bar=true")
            assert not run(*TINY, *EPOCH, *bounds, f"hydra.run.dir={tmp_path / str(steps)}").code
        counts.append(reads.count)
    assert counts[0] == counts[1] > 0


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """Let `torch.compile` only trace whole functions, and return the shape of the histories in each graph."""
    shapes: list[tuple[int, ...]] = []

    def backend(graph: Any, inputs: list[Any]) -> Any:
        shapes.extend(tuple(x.shape) for x in inputs if x.dtype == torch.int64 and x.dim() == 2)
        return graph

    compile = torch.compile

    def traces(function: Any, mode: str, dynamic: bool) -> Any:
        return compile(function, fullgraph=True, dynamic=dynamic, backend=backend)

    monkeypatch.setattr(torch, "compile", traces)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checks cannot be traced
    yield shapes
    torch.compiler.reset()


@pytest.mark.slow
def test_compiled_runs_have_the_losses_of_eager_ones(run: Run, tmp_path: Path, traced: list[tuple[int, ...]]) -> None:
    eager, compiled = tmp_path / "eager", tmp_path / "compiled"
    short = (*TINY, "model=hgn", "stages=[fit]", "trainer.max_epochs=2")  # without dropout: masks depend on the width
    assert not run(*short, f"hydra.run.dir={eager}").code
    assert not traced
    assert not run(*short, "compile=default", "compile_widths=16", f"hydra.run.dir={compiled}").code
    assert traced
    assert len(traced) == len(set(traced))
    assert {width for _, width in traced} <= {16, 32, 48, 50}
    assert len({rows for rows, _ in traced}) <= 2
    histories = [results(folder)["history"] for folder in (eager, compiled)]
    assert histories[0]["train/loss"] == pytest.approx(histories[1]["train/loss"], rel=1e-3)
    weights = [torch.load(folder / "checkpoints" / "best.ckpt")["state_dict"] for folder in (eager, compiled)]
    assert weights[0].keys() == weights[1].keys()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["compile=fast"], ["compile=fast", "reduce-overhead"]),
        (["compile=default", "compile_widths=0"], ["compile_widths=0"]),
        (["compile=default", "model=bert4rec"], ["compile=default", "BERT4Rec"]),
        (["matmul_precision=low"], ["matmul_precision", "low"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_compile_or_precision_is_an_error(
    overrides: list[str], named: list[str], run: Run, tmp_path: Path
) -> None:
    ended = run(*TINY, *overrides, f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert "\n" not in ended.line
    assert all(name in ended.line for name in named), ended.line


def build_without_dropout(name: str, build: Build) -> VectorModel:
    torch.manual_seed(0)
    model = build(SPEC, f"model={name}")
    if not isinstance(model, VectorModel):
        pytest.skip("has no loss")
    return without_dropout(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_compiles_without_graph_breaks(
    name: str, build: Build, histories: Callable[..., Batch], traced: list[tuple[int, ...]]
) -> None:
    model = build_without_dropout(name, build)
    if model.all_positions:
        pytest.skip("its shapes depend on the data")
    loss = step.compiled(training_loss, "default", model, num_widths=1)
    batch = histories(LENGTHS, SPEC.max_len, SPEC.num_items)
    torch.testing.assert_close(loss(model, batch), training_loss(model, batch))


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_does_not_change_the_loss(name: str, build: Build, histories: Callable[..., Batch]) -> None:
    model, batch = build_without_dropout(name, build), histories(LENGTHS, SPEC.max_len, SPEC.num_items)
    losses = []
    for enabled in (False, True):
        torch.manual_seed(0)  # of the masks of BERT4Rec
        with torch.autocast("cpu", torch.bfloat16, enabled):
            losses.append(training_loss(model, batch))
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(*losses, rtol=0.05, atol=0)
    if losses[1].requires_grad:
        losses[1].backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["adamct", "gru4rec", "hgn"])
def test_half_precision_does_not_change_the_ranks(model: str, run: Run, tmp_path: Path) -> None:
    scores = []
    for precision in ("32-true", "bf16-mixed"):
        folder = tmp_path / precision
        keys = (f"model={model}", f"trainer.precision={precision}", f"hydra.run.dir={folder}")
        assert not run(*TINY, *keys).code
        scores.append(results(folder)["metrics"])
    assert scores[1]["test/full/mrr"] == pytest.approx(scores[0]["test/full/mrr"], rel=0.15)
    assert scores[1]["test/uni20/ndcg@10"] == pytest.approx(scores[0]["test/uni20/ndcg@10"], rel=0.15)
