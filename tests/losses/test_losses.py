"""The chunked objective equals the cross-entropy of materialised logits, sampled ones their formulas."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch.utils._pytree import tree_leaves

from adamct.batch import DataSpec
from adamct.losses import cross_entropy as losses
from adamct.losses.sampled import (
    BayesianPersonalisedRanking,
    GeneralisedBinaryCrossEntropy,
    Proposal,
    Sampled,
    SampledCrossEntropy,
)
from tests.conftest import TINY, Ended

NUM_ITEMS, HIDDEN_SIZE = 37, 8


def draw(count: int, with_bias: bool, scale: float) -> tuple[list[Tensor], Tensor]:
    """Queries, item table and perhaps item bias, the padding's row far off; and targets."""
    generator = torch.Generator().manual_seed(count)
    queries, table = (torch.randn(rows, HIDDEN_SIZE, generator=generator) for rows in (count, NUM_ITEMS + 1))
    bias = torch.randn(NUM_ITEMS + 1, generator=generator)
    table[0], bias[0] = 10, 10
    targets = torch.randint(1, NUM_ITEMS + 1, (count,), generator=generator)
    targets[0] = NUM_ITEMS
    queries *= scale
    return [tensor.requires_grad_() for tensor in ([queries, table, bias] if with_bias else [queries, table])], targets


class Exact(NamedTuple):
    """The loss, its gradients and the errors that single precision may make in each, all in double precision."""

    loss: Tensor
    gradients: list[Tensor]
    loss_error: float
    errors: list[Tensor]


def exactly(inputs: list[Tensor], targets: Tensor) -> Exact:
    """Compute the mean cross-entropy over materialised logits in double precision.

    A sum of n products in single precision, in any order, is off by at most n u times the sum of their sizes, with u
    the unit roundoff. So a logit is off by at most ``delta``, a weight of the softmax by twice that share of itself,
    and a gradient by that share of the sum of the sizes of its terms.
    """
    queries, table, *biases = (tensor.detach().double() for tensor in inputs)
    bias = biases[0] if biases else queries.new_zeros(len(table))
    logits = (queries @ table.T + bias).index_fill(1, torch.tensor([0]), float("-inf"))  # padding has no probability
    own = F.one_hot(targets, len(table)).double()
    weight = logits.softmax(1)
    unit = torch.finfo(torch.float32).eps / 2
    largest = float((queries.abs() @ table.abs().T + bias.abs())[:, 1:].max())
    terms = len(table) + len(queries)  # of the sums over items and over queries
    delta = (queries.shape[1] + 1) * unit * largest
    share = 2 * delta + terms * unit

    def gradients(of_logits: Tensor, queries: Tensor, table: Tensor) -> list[Tensor]:
        found = (of_logits @ table, of_logits.T @ queries, of_logits.sum(0))
        return [gradient / len(queries) for gradient in found[: len(inputs)]]

    return Exact(
        F.cross_entropy(logits, targets),
        gradients(weight - own, queries, table),
        2 * delta + terms * unit * largest,
        gradients(share * (weight + own) + math.exp(-80), queries.abs(), table.abs()),  # no weight is less than that
    )


@pytest.mark.parametrize("scale", [1.0, 100.0], ids=["bounded", "unbounded"])  # exp of the latter's logits overflows
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("count", [1, 127, 128, 129, 300])
def test_cross_entropy_and_its_gradients_equal_those_of_materialised_logits(
    count: int, with_bias: bool, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(losses.LOGITS_AT_ONCE, "cpu", 64 * NUM_ITEMS)
    inputs, targets = draw(count, with_bias, scale)
    exact = exactly(inputs, targets)
    loss = losses.cross_entropy(inputs[0], inputs[1], inputs[2] if with_bias else None, targets)
    gradients = torch.autograd.grad(4 * loss, inputs)  # as under a loss scale
    assert abs(loss.item() - exact.loss.item()) <= exact.loss_error
    for gradient, expected, error in zip(gradients, exact.gradients, exact.errors, strict=True):
        assert ((gradient.double() / 4 - expected).abs() <= error).all()
    assert not any(gradient[0].any() for gradient in gradients[1:])  # the padding's row and bias


@pytest.mark.parametrize("with_bias", [True, False])
def test_compiled_losses_are_the_eager_ones_and_hold_few_logits(
    with_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checks cannot be traced
    sizes: list[int] = []

    def record(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        for node in graph.graph.nodes:
            sizes.extend(tensor.numel() for tensor in tree_leaves(node.meta.get("val")) if isinstance(tensor, Tensor))
        return make_boxed_func(graph)

    monkeypatch.setitem(losses.LOGITS_AT_ONCE, "cpu", 64 * NUM_ITEMS)
    inputs, targets = draw(300, with_bias, 1.0)
    given = (inputs[0], inputs[1], inputs[2] if with_bias else None, targets)
    compiled = torch.compile(losses.cross_entropy, backend=aot_autograd(fw_compiler=record), fullgraph=True)
    found = []
    for objective in (losses.cross_entropy, compiled):
        loss = objective(*given)
        found.append((loss.detach(), *torch.autograd.grad(loss, inputs)))
    torch.compiler.reset()
    torch.testing.assert_close(*found)
    assert 0 < max(sizes) <= 300 * (HIDDEN_SIZE + 1)  # and not 300 * NUM_ITEMS


@pytest.mark.parametrize("device", ["cuda", "mps", "xpu", "hpu"])
def test_any_device_may_hold_some_logits(device: str) -> None:
    assert losses.logits_at_once(torch.device(device)) >= 2**21


def test_a_table_larger_than_a_chunk_is_taken_a_row_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    (queries, table, bias), targets = draw(5, True, 1.0)
    whole = losses.cross_entropy(queries, table, bias, targets)
    monkeypatch.setitem(losses.LOGITS_AT_ONCE, "cpu", 1)
    torch.testing.assert_close(losses.cross_entropy(queries, table, bias, targets), whole)


def spec(num_items: int = NUM_ITEMS) -> DataSpec:
    counts = torch.arange(num_items + 1.0)
    return DataSpec(num_items=num_items, num_users=3, max_len=5, item_counts=counts)


class Fixed:
    """Negatives that are told, in place of drawn ones."""

    def __init__(self, objective: Sampled, *negatives: int):
        objective.draw = lambda targets: torch.tensor(negatives)  # pyright: ignore[reportAttributeAccessIssue]
        self.objective = objective

    def __call__(self, inputs: list[Tensor], targets: Tensor) -> float:
        queries, table, *bias = inputs
        return float(self.objective(queries, table, bias[0] if bias else None, targets).detach())


def scores_of(inputs: list[Tensor]) -> list[list[float]]:
    queries, table, *bias = (tensor.detach() for tensor in inputs)
    return (queries @ table.T + (bias[0] if bias else 0.0)).tolist()


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("with_bias", [True, False])
def test_sampled_objectives_are_their_formulas(with_bias: bool) -> None:
    inputs, targets = draw(4, with_bias, 0.5)
    negatives = (3, 8, int(targets[1]), 8)  # one of which is a query's own target, and one is there twice
    rows = [
        (row[t], [row[j] for j in negatives if j != t], [j for j in negatives if j != t])
        for row, t in zip(scores_of(inputs), targets.tolist(), strict=True)
    ]
    count, items = len(negatives), NUM_ITEMS

    bpr = [mean(-math.log(sigma(s - other)) for other in others) for s, others, _ in rows]
    assert Fixed(BayesianPersonalisedRanking(spec(), 4), *negatives)(inputs, targets) == pytest.approx(mean(bpr), 1e-5)

    rate = count / (items - 1)
    for t in (0.0, 0.75, 1.0):
        beta = rate * (t * (1 - 1 / rate) + 1 / rate)
        gbce = [
            -(beta * math.log(sigma(s)) + sum(math.log(1 - sigma(other)) for other in others)) / (count + 1)
            for s, others, _ in rows
        ]
        found = Fixed(GeneralisedBinaryCrossEntropy(spec(), 4, t), *negatives)(inputs, targets)
        assert found == pytest.approx(mean(gbce), 1e-5)

    weights: dict[Proposal, list[float]] = {
        "uniform": [1.0] * items,
        "popularity": [1 + math.log(1 + item) for item in range(1, items + 1)],
        "in_batch": [float(item) for item in range(1, items + 1)],
    }
    for proposal, of in weights.items():
        for log_q in (True, False):
            drawn = count - (proposal == "in_batch")
            expected = []
            for s, others, names in rows:
                factor = [1 / (drawn * of[j - 1] / sum(of)) if log_q else 1.0 for j in names]
                z = math.exp(s) + sum(f * math.exp(other) for f, other in zip(factor, others, strict=True))
                expected.append(math.log(z) - s)
            objective = SampledCrossEntropy(spec(), 4, proposal, log_q)
            assert Fixed(objective, *negatives)(inputs, targets) == pytest.approx(mean(expected), 1e-5)


@pytest.mark.parametrize("proposal", ["uniform", "popularity"])
def test_the_estimated_sum_over_the_catalogue_is_the_true_one_on_average(proposal: Proposal) -> None:
    torch.manual_seed(0)
    (queries, table, bias), targets = draw(3, True, 0.3)
    with torch.no_grad():
        logits = (queries @ table.T + bias)[:, 1:]
        full = logits.logsumexp(1).exp()
        objective = SampledCrossEntropy(spec(), 20, proposal, True)
        estimates = []
        for _ in range(1000):
            per_query = [objective(queries[i : i + 1], table, bias, targets[i : i + 1]) for i in range(3)]
            score = logits.gather(1, targets[:, None] - 1)[:, 0]
            estimates.append((torch.stack(per_query) + score).exp())
    found = torch.stack(estimates)
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - full).abs() < 4 * error).all()
    # With many negatives the loss itself is the full cross-entropy.
    many = SampledCrossEntropy(spec(), 200_000, proposal, True)(queries, table, bias, targets)
    full_loss = losses.cross_entropy(queries, table, bias, targets)
    assert many.item() == pytest.approx(full_loss.item(), abs=0.02)


def test_targets_of_other_rows_are_the_negatives_of_a_batch() -> None:
    inputs, targets = draw(5, False, 0.5)
    objective = SampledCrossEntropy(spec(), 1, "in_batch", False)
    rows = scores_of(inputs)
    expected = []
    for row, target in zip(rows, targets.tolist(), strict=True):
        others = [row[j] for j in targets.tolist() if j != target]
        expected.append(math.log(math.exp(row[target]) + sum(map(math.exp, others))) - row[target])
    assert objective(inputs[0], inputs[1], None, targets).item() == pytest.approx(mean(expected), 1e-5)


def test_padding_is_never_drawn_and_popular_items_more_often() -> None:
    torch.manual_seed(0)
    targets = torch.ones(1, dtype=torch.long)
    for proposal in ("uniform", "popularity"):
        objective = SampledCrossEntropy(spec(), 100_000, proposal, True)
        share = torch.bincount(objective.draw(targets), minlength=NUM_ITEMS + 1) / 100_000
        assert share[0] == 0
        torch.testing.assert_close(share, objective.probabilities, atol=0.005, rtol=0)


@pytest.mark.parametrize(
    "name", ["sampled_cross_entropy", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gbce", "bpr"))]
)
def test_every_loss_of_the_config_trains(name: str, run: Callable[..., Ended], tmp_path: Path) -> None:
    assert run(*TINY, f"loss={name}", "trainer.max_epochs=4", f"hydra.run.dir={tmp_path}").code == 0
    found = json.loads((tmp_path / "results.json").read_text())
    loss = found["history"]["train/loss"]
    assert loss[-1] < loss[0]


@pytest.mark.parametrize("wrong", ["loss.num_negatives=0", "loss.proposal=luck"])
def test_mistakes_are_told(wrong: str, run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run(*TINY, "loss=sampled_cross_entropy", wrong, f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert wrong in ended.line
