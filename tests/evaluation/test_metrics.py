"""Ranks against counting in plain Python; metrics against fractions by hand, torchmetrics, and several processes."""

from collections.abc import Sequence
from math import log2
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing.spawn import start_processes
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR, RetrievalNormalizedDCG, RetrievalRecall

from adamct.batch import Candidates, Ranks, Seen
from adamct.errors import InputError
from adamct.evaluation.metrics import ListMetrics, RankingMetrics
from adamct.evaluation.ranking import BYTES_AT_ONCE, rank_targets, ranks, top_items
from adamct.scores import VectorScores
from tests.conftest import Largest

NUM_ITEMS, NUM_NEGATIVES, NUM_USERS = 15, 6, 40
CUTOFFS = (1, 2, 5, 10)


def seen(sets: Sequence[Sequence[int]]) -> Seen:
    """Return the seen items of some rows."""
    counts = torch.tensor([len(items_of_row) for items_of_row in sets])
    items = torch.tensor([item for items_of_row in sets for item in items_of_row], dtype=torch.long)
    bounds = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    return Seen(items, torch.arange(len(sets)).repeat_interleave(counts), bounds)


def draw(seed: int, levels: int | None = None) -> tuple[Tensor, Tensor, Candidates]:
    """Draw scores, targets and candidates. Few levels of scores tie often; None never ties."""
    generator = torch.Generator().manual_seed(seed)
    shape = NUM_USERS, NUM_ITEMS + 1
    scores = (
        torch.randn(shape, generator=generator, dtype=torch.double)
        if levels is None
        else torch.randint(levels, shape, generator=generator).double()
    )
    order = torch.rand(NUM_USERS, NUM_ITEMS, generator=generator).argsort(1) + 1
    counts = torch.randint(NUM_ITEMS, (NUM_USERS,), generator=generator)  # some have had all items but the target
    seen_items = seen(
        [row[1 : 1 + count].tolist() for row, count in zip(order.flip(1).roll(1, 1), counts, strict=True)]
    )
    return scores, order[:, 0], Candidates(order[:, 1 : NUM_NEGATIVES + 1], seen_items)


def count_rank(scores: list[float], target: int, candidates: Sequence[int]) -> int:
    higher = sum(scores[item] > scores[target] for item in candidates)
    tied = sum(scores[item] == scores[target] for item in candidates if item != target)
    return 1 + higher + tied


def counted(scores: Tensor, target: Tensor, candidates: Candidates) -> list[list[int]]:
    """Return the three ranks of every target, by counting."""
    rows = list(zip(scores.tolist(), target.tolist(), candidates.negatives.tolist(), strict=True))
    seen_items = [candidates.seen.rows(row, row + 1).item.tolist() for row in range(len(target))]
    every = range(1, scores.shape[1])
    return [
        [count_rank(*row) for row in rows],
        [count_rank(row, item, every) for row, item, _ in rows],
        [
            count_rank(row, item, [i for i in every if i not in items_of_row])
            for (row, item, _), items_of_row in zip(rows, seen_items, strict=True)
        ],
    ]


def metrics_of(ranked: Sequence[int] | Tensor, num_users: int | None = None) -> dict[str, float]:
    metric = RankingMetrics(len(ranked) if num_users is None else num_users, CUTOFFS)
    metric.update(torch.arange(len(ranked)), torch.as_tensor(ranked))
    return metric.compute()


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


@pytest.mark.parametrize("which", ["target", "negative", "other", "all"])
def test_a_user_scored_with_nan_is_an_error(which: str) -> None:
    scores, target, candidates = draw(2)
    negatives = candidates.negatives
    drawn = {int(target[3]), *negatives[3].tolist()}
    other = next(item for item in range(1, NUM_ITEMS + 1) if item not in drawn)
    scores[3, {"target": target[3], "negative": negatives[3, 0], "other": other, "all": slice(None)}[which]] = torch.nan
    for ranked in ranks(scores, target, candidates):
        assert (ranked < 1).nonzero().flatten().tolist() == [3]
        with pytest.raises(InputError, match=r"scores 1 users with NaN.*optimizer\.lr"):
            metrics_of(ranked)


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


def test_metrics_equal_fractions_by_hand() -> None:
    assert metrics_of([1, 2, 3, 5, 11]) == pytest.approx(
        {
            "mrr": (1 / 1 + 1 / 2 + 1 / 3 + 1 / 5 + 1 / 11) / 5,
            "recall@1": 1 / 5,
            "recall@2": 2 / 5,
            "recall@5": 4 / 5,
            "recall@10": 4 / 5,
            "ndcg@1": (1 / log2(2)) / 5,
            "ndcg@2": (1 / log2(2) + 1 / log2(3)) / 5,
            "ndcg@5": (1 / log2(2) + 1 / log2(3) + 1 / log2(4) + 1 / log2(6)) / 5,
            "ndcg@10": (1 / log2(2) + 1 / log2(3) + 1 / log2(4) + 1 / log2(6)) / 5,
        },
        rel=1e-12,
    )


@pytest.mark.parametrize("ranking", Ranks._fields)
def test_metrics_equal_torchmetrics_where_nothing_ties(ranking: str) -> None:
    scores, target, against = draw(4)
    actual = getattr(ranks(scores, target, against), ranking)
    candidates = torch.arange(1, NUM_ITEMS + 1).expand(NUM_USERS, -1)
    if ranking == "sampled":
        candidates = torch.cat([target[:, None], against.negatives], 1)
    if ranking == "full_unseen":
        scores = scores.index_put((against.seen.row, against.seen.item), torch.tensor(-torch.inf, dtype=scores.dtype))
    user = torch.arange(NUM_USERS)[:, None].expand_as(candidates)
    positive = scores.sigmoid()  # in the same order: torchmetrics' recall takes only positive scores for retrieved
    triple = positive.gather(1, candidates), candidates == target[:, None], user
    expected = {"mrr": RetrievalMRR()(*triple)}
    for k in CUTOFFS:
        expected[f"recall@{k}"] = RetrievalHitRate(top_k=k)(*triple)
        expected[f"ndcg@{k}"] = RetrievalNormalizedDCG(top_k=k)(*triple)
        assert RetrievalRecall(top_k=k)(*triple) == expected[f"recall@{k}"]  # with one relevant item
    assert metrics_of(actual) == pytest.approx({name: value.item() for name, value in expected.items()}, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 256, 1000])
def test_metrics_do_not_depend_on_batches(batch_size: int) -> None:
    generator = torch.Generator().manual_seed(batch_size)
    ranked = torch.randint(1, 102, (1000,), generator=generator)
    metric = RankingMetrics(1000, CUTOFFS)
    for user in torch.randperm(1000, generator=generator).split(batch_size):
        metric.update(user, ranked[user])
    assert metric.compute() == metrics_of(ranked)
    assert metric.joined.equal(ranked)


def rank_in_two_processes(process: int, folder: Path, ranked: Tensor) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=process, world_size=2)
    user = torch.arange(len(ranked))
    mine = user[user % 3 == 0] if process else user[user % 3 != 0]
    metric, broken = RankingMetrics(len(ranked), CUTOFFS), RankingMetrics(len(ranked), CUTOFFS)
    metric.update(mine, ranked[mine])
    values = metric.compute()
    broken.update(mine, -ranked[mine] if process else ranked[mine])  # a rank below 1: NaN, in the second one only
    try:
        broken.compute()
        error = ""
    except InputError as refused:
        error = str(refused)
    torch.save((values, metric.joined, error), folder / f"{process}.pt")
    dist.destroy_process_group()


@pytest.mark.integration
def test_two_processes_have_the_metrics_of_one(tmp_path: Path) -> None:
    ranked = torch.randint(1, 102, (100,), generator=torch.Generator().manual_seed(5))
    # As cold as spawn, but the libraries are imported once.
    get_context("forkserver").set_forkserver_preload(["pytest", "adamct.evaluation.metrics", "datamodules.cache"])
    start_processes(rank_in_two_processes, (tmp_path, ranked), nprocs=2, start_method="forkserver")
    for process in range(2):
        values, joined, error = torch.load(tmp_path / f"{process}.pt")
        assert values == metrics_of(ranked)
        assert joined.equal(ranked)  # a user twice would be a sum of ranks
        assert "34 users with NaN" in error  # both stop, or the other would wait for ever


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


def list_metrics_of(lists: Sequence[Sequence[int]], counts: Sequence[float]) -> dict[str, float]:
    metric = ListMetrics(torch.tensor([0.0, *counts]), 2)
    for row in lists:
        metric.update(torch.tensor([row]))
    return metric.compute()


def test_list_metrics_equal_fractions_by_hand() -> None:
    counts = [10.0, 4.0, 1.0, 1.0]
    alike = list_metrics_of([[1, 2], [3, 4]], counts)
    assert alike == pytest.approx({"coverage@2": 1.0, "popularity@2": 16 / 4, "gini@2": 0.0})
    one = list_metrics_of([[1, 0], [1, 0]], counts)  # 0: an empty place
    assert one == pytest.approx({"coverage@2": 1 / 4, "popularity@2": 10.0, "gini@2": 1.0})
    some = list_metrics_of([[1, 2], [1, 3], [1, 2]], counts)  # shares 3/6, 2/6, 1/6, 0
    gini = (-3 * 0 - 1 * 1 / 6 + 1 * 2 / 6 + 3 * 3 / 6) / 3
    assert some == pytest.approx({"coverage@2": 3 / 4, "popularity@2": (3 * 10 + 2 * 4 + 1) / 6, "gini@2": gini})


@pytest.mark.filterwarnings("ignore:The ``compute`` method")  # before any update, where there is nothing
def test_reset_forgets_the_ranks() -> None:
    metric = RankingMetrics(3, CUTOFFS)
    metric.update(torch.tensor([0, 1, 2]), torch.tensor([1, 1, 1]))
    assert metric.compute()["mrr"] == 1
    metric.reset()
    assert metric.compute() == {}
    metric.update(torch.tensor([1]), torch.tensor([4]))
    assert metric.compute()["mrr"] == 1 / 4
    metric.update(torch.tensor([2]), torch.tensor([2]))
    assert metric.joined.tolist() == [0, 4, 0]  # as of compute
    assert metric.compute()["mrr"] == (1 / 4 + 1 / 2) / 2


def test_means_leave_out_users_without_a_rank() -> None:
    assert metrics_of([1, 2, 3, 5, 11], num_users=9) == metrics_of([1, 2, 3, 5, 11])
