"""Ranks and lists against counting in plain Python, in whole rows and by blocks of items."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adamct.batch import Candidates
from adamct.evaluation.ranking import BYTES_AT_ONCE, rank_targets, ranks, top_items
from adamct.scores import VectorScores
from tests.conftest import Largest
from tests.evaluation.oracles import NUM_ITEMS, NUM_NEGATIVES, counted, draw, metrics_of, seen


@pytest.mark.parametrize("padding", [-1e9, 1.0, 1e9, float("inf")])
@pytest.mark.parametrize("levels", [2, 4, None])
def test_ranks_equal_counting_for_any_padding_score(levels: int | None, padding: float) -> None:
    scores, target, candidates = draw(0, levels)
    scores[:, 0] = padding
    actual = ranks(scores, target, candidates)
    assert [rank.tolist() for rank in actual] == counted(scores, target, candidates)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 70), st.integers(1, 9), st.booleans(), st.data())
def test_ranks_of_any_histories_equal_counting(
    num_items: int, num_users: int, blocks: bool, data: st.DataObject
) -> None:
    items = st.integers(1, num_items)
    table = torch.tensor(data.draw(st.lists(st.integers(-2, 2), min_size=num_items + 1, max_size=num_items + 1)))
    target = [data.draw(items) for _ in range(num_users)]
    seen_items = [sorted(data.draw(st.sets(items)) - {own}) for own in target]
    negatives = [[data.draw(items.filter(lambda item, own=own: item != own)) for _ in range(2)] for own in target]
    candidates = Candidates(torch.tensor(negatives), seen(seen_items))
    queries = torch.tensor(data.draw(st.lists(st.integers(-1, 1), min_size=num_users, max_size=num_users))).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BYTES_AT_ONCE, "cpu", 4 * (64 if blocks else 2**20))  # 2 users and at most 32 items
        actual = rank_targets(
            VectorScores(queries[:, None], table[:, None].float(), None), torch.tensor(target), candidates
        )
    scores = torch.outer(queries, table.float())
    assert [rank.tolist() for rank in actual] == counted(scores, torch.tensor(target), candidates)


@pytest.mark.parametrize("constant", [0.0, -3.5, float("-inf")])
def test_a_constant_model_comes_last(constant: float) -> None:
    scores, target, candidates = draw(1)
    sampled, full, full_unseen = ranks(torch.full_like(scores, constant), target, candidates)
    assert set(sampled.tolist()) == {NUM_NEGATIVES + 1}
    assert set(full.tolist()) == {NUM_ITEMS}
    assert full_unseen.equal(NUM_ITEMS - candidates.seen.bounds.diff())
    assert metrics_of(sampled)["recall@5"] == metrics_of(sampled)["ndcg@5"] == 0
    assert metrics_of(full)["recall@10"] == metrics_of(full)["ndcg@10"] == 0


def test_minus_infinity_is_the_lowest_score() -> None:
    scores, target, candidates = draw(3)
    scores[0, target[0]] = float("-inf")
    scores[1, 1:] = float("-inf")
    scores[1, target[1]] = 0
    unseen = NUM_ITEMS - len(candidates.seen.rows(0, 1).item)
    for ranked, last in zip(ranks(scores, target, candidates), (NUM_NEGATIVES + 1, NUM_ITEMS, unseen), strict=True):
        assert ranked[:2].tolist() == [last, 1]
        assert metrics_of(ranked)["mrr"] > 0


def catalogue(
    num_items: int, num_users: int, size: int, levels: int | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Candidates]:
    """Draw queries, a table whose rows repeat, biases, targets and candidates. With few levels, scores tie often."""
    generator = torch.Generator().manual_seed(0)
    queries, vectors = (torch.randn(count, size, generator=generator) for count in (num_users, num_items // 2 + 1))
    table, bias = torch.cat([vectors, vectors])[: num_items + 1], torch.randn(num_items + 1, generator=generator)
    if levels is not None:
        queries, table, bias = ((tensor * levels).round() for tensor in (queries, table, bias))
    target, *negatives = torch.randint(1, num_items + 1, (8, num_users), generator=generator)
    drawn = torch.randint(1, num_items + 1, (num_users, min(num_items // 4, 1000)), generator=generator).tolist()
    seen_items = seen([sorted({*row} - {own}) for row, own in zip(drawn, target.tolist(), strict=True)])
    return queries, table, bias, target, Candidates(torch.stack(negatives, 1), seen_items)


@pytest.mark.parametrize("levels", [None, 0, 1])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("num_items", [35, 63, 64, 200])
def test_blocks_of_items_give_the_ranks_of_whole_rows(
    num_items: int, has_bias: bool, levels: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, table, bias, target, candidates = catalogue(num_items, 30, 5, levels)
    whole = ranks(F.linear(queries, table, bias if has_bias else None), target, candidates)
    monkeypatch.setitem(BYTES_AT_ONCE, "cpu", 4 * 256)  # 4 users and at most 64 items
    actual = rank_targets(VectorScores(queries, table, bias if has_bias else None), target, candidates)
    assert [rank.tolist() for rank in actual] == [rank.tolist() for rank in whole]


def test_blocks_of_items_report_nan_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, table, _, target, candidates = catalogue(200, 30, 5, None)
    monkeypatch.setitem(BYTES_AT_ONCE, "cpu", 4 * 256)
    queries[7] = torch.nan
    for rank in rank_targets(VectorScores(queries, table, None), target, candidates):
        assert (rank < 1).nonzero().flatten().tolist() == [7]


def test_half_a_million_items_rank_in_bounded_memory() -> None:
    queries, table, bias, target, candidates = catalogue(500_000, 40, 64, None)
    with Largest(table) as largest:
        actual = rank_targets(VectorScores(queries, table, bias), target, candidates)
    assert largest.bytes <= BYTES_AT_ONCE["cpu"]
    scores = F.linear(queries, table, bias)
    assert scores.nbytes > 10 * BYTES_AT_ONCE["cpu"]
    for rank, expected in zip(actual, ranks(scores, target, candidates), strict=True):
        assert rank.equal(expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_vectors_have_single_scores(dtype: torch.dtype) -> None:
    queries, table, bias, target, candidates = catalogue(200, 30, 5, None)
    queries, table, bias = (tensor.to(dtype) for tensor in (queries, table, bias))
    actual = rank_targets(VectorScores(queries, table, bias), target, candidates)
    expected = rank_targets(VectorScores(queries.float(), table.float(), bias.float()), target, candidates)
    assert [rank.tolist() for rank in actual] == [rank.tolist() for rank in expected]


@pytest.mark.parametrize("num_items", [7, 63, 200])
@pytest.mark.parametrize("leave_out", [True, False])
def test_lists_have_the_items_by_score(num_items: int, leave_out: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, table, bias, _, candidates = catalogue(num_items, 30, 5, None)
    table = torch.randn(table.shape, generator=torch.Generator().manual_seed(1))  # whose rows do not repeat
    monkeypatch.setitem(BYTES_AT_ONCE, "cpu", 4 * 256)
    items, _ = top_items(VectorScores(queries, table, bias), 10, candidates.seen if leave_out else None)
    for row, scores in enumerate(F.linear(queries, table, bias).tolist()):
        seen_items = candidates.seen.rows(row, row + 1).item.tolist() if leave_out else []
        unseen = [item for item in range(1, num_items + 1) if item not in seen_items]
        expected = sorted(unseen, key=lambda item: -scores[item])[:10]
        assert [item for item in items[row].tolist() if item] == expected
