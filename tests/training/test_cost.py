"""The cost of a run: FLOPs at the longest history, and None where they cannot be counted."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hydra.utils import instantiate

from adamct.batch import Batch, DataSpec
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.table import NONE
from adamct.report.sections.costs import COSTS, cost
from adamct.training.cost import flops
from tests.conftest import TINY, Ended, composed

SPEC = DataSpec(num_items=30, num_users=8, max_len=6, item_counts=torch.arange(31.0))
CPU = torch.device("cpu")
BEAUTY = Path(__file__).parents[3] / "shared" / "data" / "beauty.txt"


@pytest.mark.slow
def test_flops_are_those_of_the_longest_history(tmp_path: Path, run: Callable[..., Ended]) -> None:
    longest = instantiate(composed(*TINY, "dataset.max_len=40000").dataset).longest_history
    assert longest < 40_000
    counted = []
    for limit in (longest, 40_000):  # at 40,000 the attention of one history takes more memory than there is
        folder = tmp_path / str(limit)
        overrides = ("model=sasrec", "trainer.max_epochs=1", f"dataset.max_len={limit}", f"hydra.run.dir={folder}")
        assert run(*TINY, *overrides).code == 0
        counted.append(json.loads((folder / "results.json").read_text())["cost"]["flops_per_query"])
    assert counted[0] == counted[1] > 0


def test_longest_history_is_within_the_limit() -> None:
    data = instantiate(composed(*TINY).dataset)
    lengths = [
        end - begin for begin, end in zip(data.interactions.offsets, data.interactions.offsets[1:], strict=False)
    ]
    data.max_len = 10_000
    assert data.longest_history == max(lengths) - 1 == data.test_facts().history_len.max()
    data.max_len = 3
    assert data.longest_history == 3


@pytest.mark.skipif(not BEAUTY.exists(), reason="needs the paper's data")
def test_some_history_of_beauty_is_full() -> None:
    assert instantiate(composed("dataset=beauty", f"dataset.path={BEAUTY}").dataset).longest_history == 50


def test_flops_of_dense_models_are_at_full_width(build: Callable[..., Any]) -> None:
    masked, dense = build(SPEC), build(SPEC, "model.padding=dense")
    assert flops(dense, CPU, 6, 4) == flops(dense, CPU, 6, 6) == flops(masked, CPU, 6, 6)
    assert (flops(masked, CPU, 4, 4) or 0) < (flops(masked, CPU, 6, 6) or 0)


def test_a_model_without_queries_has_no_flops(build: Callable[..., Any]) -> None:
    assert flops(build(SPEC, "model=markov"), CPU, 6, 6) is None


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("40 GiB"), NotImplementedError("an operator")])
def test_flops_that_cannot_be_counted_are_none(
    error: Exception, build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(batch: Batch) -> None:
        raise error

    model = build(SPEC)
    monkeypatch.setattr(model, "queries", fail)
    assert flops(model, CPU, 6, 6) is None
    assert f"not counted ({type(error).__name__}" in caplog.text


def test_a_report_shows_uncounted_flops_as_missing() -> None:
    def of(*counted: int | None) -> str:
        runs = [SimpleNamespace(results={"cost": {"flops_per_query": value}}) for value in counted]
        return inspect.unwrap(cost)(cast(Variant, SimpleNamespace(runs=runs)), *COSTS["MFLOPs a query"])

    assert of(None, None) == NONE
    assert of(None, 2_000_000) == of(2_000_000) == "2.00"
