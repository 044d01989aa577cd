"""Sampled losses equal their formulas, and draw what they promise."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest
import torch
from torch import Tensor

from adamct.batch import DataSpec
from adamct.errors import InputError
from adamct.losses.cross_entropy import cross_entropy
from adamct.losses.sampled import (
    BayesianPersonalisedRanking,
    BinaryCrossEntropy,
    GeneralisedBinaryCrossEntropy,
    Proposal,
    Sampled,
    SampledCrossEntropy,
)
from tests.conftest import CONF, TINY, Ended

NUM_ITEMS, HIDDEN_SIZE = 37, 8
SPEC = DataSpec(num_items=NUM_ITEMS, num_users=3, max_len=5, item_counts=torch.arange(NUM_ITEMS + 1.0))
WEIGHTS: dict[Proposal, list[float]] = {
    "uniform": [1.0] * NUM_ITEMS,
    "popularity": [1 + math.log(1 + item) for item in range(1, NUM_ITEMS + 1)],
    "in_batch": [float(item) for item in range(1, NUM_ITEMS + 1)],
}
"""The unnormalised probability of each item, from 1, under each proposal."""


def draw(count: int, with_bias: bool, scale: float) -> tuple[list[Tensor], Tensor]:
    """Draw queries, item table and perhaps item bias, and targets. Padding has the largest scores."""
    generator = torch.Generator().manual_seed(count)
    queries, table = (torch.randn(rows, HIDDEN_SIZE, generator=generator) for rows in (count, NUM_ITEMS + 1))
    bias = torch.randn(NUM_ITEMS + 1, generator=generator)
    table[0], bias[0] = 10, 10
    targets = torch.randint(1, NUM_ITEMS + 1, (count,), generator=generator)
    targets[0] = NUM_ITEMS
    return [scale * queries, table, bias] if with_bias else [scale * queries, table], targets


def loss_with(
    objective: Sampled | BinaryCrossEntropy, negatives: tuple[int, ...], inputs: list[Tensor], targets: Tensor
) -> float:
    """Compute a loss of fixed negatives."""
    drawn = torch.tensor([negatives] if isinstance(objective, Sampled) else negatives)
    objective.draw = lambda *arguments: drawn  # pyright: ignore[reportAttributeAccessIssue]
    queries, table, *bias = inputs
    return float(objective(queries, table, bias[0] if bias else None, targets))


def scores_of(inputs: list[Tensor]) -> list[list[float]]:
    queries, table, *bias = inputs
    return (queries @ table.T + (bias[0] if bias else 0.0)).tolist()


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


Row = tuple[float, list[float], list[int]]
"""A target's score, the scores of the other negatives, and the other negatives."""


@pytest.fixture(params=[True, False], ids=["bias", "no-bias"])
def inputs_and_targets(request: pytest.FixtureRequest) -> tuple[list[Tensor], Tensor]:
    return draw(4, request.param, 0.5)


@pytest.fixture
def negatives(inputs_and_targets: tuple[list[Tensor], Tensor]) -> tuple[int, ...]:
    """Four negatives: one is a query's own target, and one occurs twice."""
    return (3, 8, int(inputs_and_targets[1][1]), 8)


@pytest.fixture
def rows(inputs_and_targets: tuple[list[Tensor], Tensor], negatives: tuple[int, ...]) -> list[Row]:
    inputs, targets = inputs_and_targets
    return [
        (row[target], [row[j] for j in negatives if j != target], [j for j in negatives if j != target])
        for row, target in zip(scores_of(inputs), targets.tolist(), strict=True)
    ]


def test_bpr_is_its_formula(
    inputs_and_targets: tuple[list[Tensor], Tensor], negatives: tuple[int, ...], rows: list[Row]
) -> None:
    expected = [mean(-math.log(sigma(score - other)) for other in others) for score, others, _ in rows]
    loss = loss_with(BayesianPersonalisedRanking(SPEC, 4, None), negatives, *inputs_and_targets)
    assert loss == pytest.approx(mean(expected), 1e-5)


@pytest.mark.parametrize("t", [0.0, 0.75, 1.0])
def test_gbce_is_its_formula(
    inputs_and_targets: tuple[list[Tensor], Tensor], negatives: tuple[int, ...], rows: list[Row], t: float
) -> None:
    rate = len(negatives) / (NUM_ITEMS - 1)
    beta = rate * (t * (1 - 1 / rate) + 1 / rate)
    base = math.log(beta / len(negatives))
    expected = [
        -(beta * math.log(sigma(score + base)) + sum(math.log(1 - sigma(other + base)) for other in others))
        / (len(negatives) + 1)
        for score, others, _ in rows
    ]
    loss = loss_with(GeneralisedBinaryCrossEntropy(SPEC, 4, None, t), negatives, *inputs_and_targets)
    assert loss == pytest.approx(mean(expected), 1e-5)


@pytest.mark.parametrize("t", [0.0, 0.75, 1.0])
def test_equal_scores_of_0_are_the_best_constant_for_gbce(t: float) -> None:
    scores = torch.zeros(3, requires_grad=True)
    negatives = torch.full((3, 4), 8)
    objective = GeneralisedBinaryCrossEntropy(SPEC, 4, None, t)
    objective.loss(scores, scores[:, None].expand(-1, 4), negatives, negatives == 1).backward()
    torch.testing.assert_close(scores.grad, torch.zeros(3))


def test_binary_cross_entropy_is_equation_7(inputs_and_targets: tuple[list[Tensor], Tensor]) -> None:
    inputs, targets = inputs_and_targets
    negatives = (3, 8, 1, 8)  # one for each target
    expected = [
        -math.log(sigma(row[target])) - math.log(1 - sigma(row[negative]))
        for row, target, negative in zip(scores_of(inputs), targets.tolist(), negatives, strict=True)
    ]
    assert loss_with(BinaryCrossEntropy(SPEC), negatives, inputs, targets) == pytest.approx(mean(expected), 1e-5)


def test_each_target_has_a_uniform_negative_that_is_not_the_target() -> None:
    torch.manual_seed(0)
    targets = torch.tensor([1, 8, NUM_ITEMS]).repeat_interleave(100_000)
    negatives = BinaryCrossEntropy(SPEC).draw(targets).view(3, -1)
    for target, drawn in zip((1, 8, NUM_ITEMS), negatives, strict=True):
        share = torch.bincount(drawn, minlength=NUM_ITEMS + 1) / 100_000
        expected = torch.full((NUM_ITEMS + 1,), 1 / (NUM_ITEMS - 1))
        expected[[0, target]] = 0
        torch.testing.assert_close(share, expected, atol=0.003, rtol=0)
    assert (negatives[0] == negatives[1]).float().mean() < 0.1  # each its own


@pytest.mark.parametrize("log_q", [True, False])
@pytest.mark.parametrize("proposal", WEIGHTS)
def test_sampled_cross_entropy_is_its_formula(
    inputs_and_targets: tuple[list[Tensor], Tensor],
    negatives: tuple[int, ...],
    rows: list[Row],
    proposal: Proposal,
    log_q: bool,
) -> None:
    count, weights, expected = len(negatives) - (proposal == "in_batch"), WEIGHTS[proposal], []
    for score, others, items in rows:
        corrections = [sum(weights) / (count * weights[j - 1]) if log_q else 1.0 for j in items]
        terms = [c * math.exp(other) for c, other in zip(corrections, others, strict=True)]
        expected.append(math.log(math.exp(score) + sum(terms)) - score)
    loss = loss_with(SampledCrossEntropy(SPEC, 4, None, proposal, log_q), negatives, *inputs_and_targets)
    assert loss == pytest.approx(mean(expected), 1e-5)


@pytest.mark.parametrize("with_bias", [True, False])
def test_each_draw_is_for_its_own_queries(with_bias: bool) -> None:
    inputs, targets = draw(7, with_bias, 0.5)
    draws = torch.tensor([[3, 8, 8], [int(targets[3]), 1, 20], [5, 6, 7]])
    apart, together = (SampledCrossEntropy(SPEC, 3, share, "popularity", True) for share in (3, None))
    apart.draw = lambda targets, num_draws: draws[:num_draws]  # pyright: ignore[reportAttributeAccessIssue]
    queries, *tables = inputs
    parts = [
        len(part) * loss_with(together, tuple(drawn), [queries[part], *tables], targets[part])
        for drawn, part in zip(draws.tolist(), torch.arange(7).split(3), strict=True)
    ]
    assert float(apart(queries, tables[0], tables[1] if with_bias else None, targets)) == pytest.approx(sum(parts) / 7)


@pytest.mark.parametrize("proposal", ["uniform", "popularity"])
def test_draws_of_a_step_differ(proposal: Proposal) -> None:
    torch.manual_seed(0)
    drawn = SampledCrossEntropy(SPEC, 50, 2, proposal, True).draw(torch.ones(4, dtype=torch.long), 2)
    assert drawn.shape == (2, 50)
    assert not drawn[0].equal(drawn[1])


def test_draws_of_a_few_queries_are_refused_in_batch() -> None:
    with pytest.raises(InputError, match=r"^loss.queries_per_draw=2: must be null with loss.proposal=in_batch$"):
        SampledCrossEntropy(SPEC, 4, 2, "in_batch", True)


@pytest.mark.parametrize("proposal", ["uniform", "popularity"])
def test_estimated_sum_over_the_catalogue_is_unbiased(proposal: Proposal) -> None:
    torch.manual_seed(0)
    (queries, table, bias), targets = draw(3, True, 0.3)
    logits = (queries @ table.T + bias)[:, 1:]
    exact = logits.logsumexp(1).exp()
    objective = SampledCrossEntropy(SPEC, 20, None, proposal, True)
    estimates = []
    for _ in range(1000):
        losses = [objective(queries[i : i + 1], table, bias, targets[i : i + 1]) for i in range(3)]
        score = logits.gather(1, targets[:, None] - 1)[:, 0]
        estimates.append((torch.stack(losses) + score).exp())
    estimate = torch.stack(estimates)
    error = estimate.std(0) / len(estimate) ** 0.5
    assert ((estimate.mean(0) - exact).abs() < 4 * error).all()


@pytest.mark.parametrize("proposal", ["uniform", "popularity"])
def test_loss_of_many_negatives_is_the_full_cross_entropy(proposal: Proposal) -> None:
    torch.manual_seed(0)
    (queries, table, bias), targets = draw(3, True, 0.3)
    loss = SampledCrossEntropy(SPEC, 200_000, None, proposal, True)(queries, table, bias, targets)
    assert loss.item() == pytest.approx(cross_entropy(queries, table, bias, targets).item(), abs=0.02)


def test_negatives_in_batch_are_the_targets_of_other_rows() -> None:
    (queries, table), targets = draw(5, False, 0.5)
    expected = []
    for row, target in zip(scores_of([queries, table]), targets.tolist(), strict=True):
        others = [row[j] for j in targets.tolist() if j != target]
        expected.append(math.log(math.exp(row[target]) + sum(map(math.exp, others))) - row[target])
    loss = SampledCrossEntropy(SPEC, 1, None, "in_batch", False)(queries, table, None, targets)
    assert loss.item() == pytest.approx(mean(expected), 1e-5)


@pytest.mark.parametrize("proposal", ["uniform", "popularity"])
def test_items_are_drawn_by_probability_and_padding_never(proposal: Proposal) -> None:
    torch.manual_seed(0)
    objective = SampledCrossEntropy(SPEC, 100_000, None, proposal, True)
    share = torch.bincount(objective.draw(torch.ones(1, dtype=torch.long), 1)[0], minlength=NUM_ITEMS + 1) / 100_000
    expected = [0.0, *(weight / sum(WEIGHTS[proposal]) for weight in WEIGHTS[proposal])]
    assert share[0] == 0
    torch.testing.assert_close(share, torch.tensor(expected), atol=0.005, rtol=0)


@pytest.mark.parametrize("objective", [BayesianPersonalisedRanking(SPEC, 2, None), BinaryCrossEntropy(SPEC)])
def test_sampled_loss_refuses_padding_as_a_class(objective: Sampled | BinaryCrossEntropy) -> None:
    (queries, table, bias), targets = draw(5, True, 0.5)
    with pytest.raises(InputError, match=r"^loss: .* padding is a class .* loss=cross_entropy"):
        objective(queries, table, bias, targets, padding_is_a_class=True)


FAST = {"cross_entropy", "sampled_cross_entropy"}  # other tests train with cross_entropy
LOSSES = sorted(path.stem for path in (CONF / "loss").glob("*.yaml"))
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in LOSSES if name not in FAST]


@pytest.mark.parametrize("name", ["sampled_cross_entropy", *SLOW])
def test_every_loss_of_the_config_trains(name: str, run: Callable[..., Ended], tmp_path: Path) -> None:
    assert run(*TINY, f"loss={name}", "trainer.max_epochs=4", f"hydra.run.dir={tmp_path}").code == 0
    losses = json.loads((tmp_path / "results.json").read_text())["history"]["train/loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("override", ["loss.num_negatives=0", "loss.proposal=luck"])
def test_refused_value_is_named_in_one_line(override: str, run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run(*TINY, "loss=sampled_cross_entropy", override, f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert override in ended.line
