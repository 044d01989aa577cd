"""Ranks against counting in plain Python; metrics against fractions by hand, torchmetrics, and several processes."""

from collections.abc import Sequence
from math import log2
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.spawn import start_processes
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR, RetrievalNormalizedDCG, RetrievalRecall

from adamct.errors import InputError
from adamct.metrics import RankingMetrics
from adamct.ranking import BYTES_AT_ONCE, rank_targets, ranks
from tests.conftest import Largest

NUM_ITEMS, NUM_NEGATIVES, NUM_USERS = 15, 6, 40
CUTOFFS = (1, 2, 5, 10)


def draw(seed: int, levels: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (few levels tie often, None never), targets, and negatives that spare the target."""
    generator = torch.Generator().manual_seed(seed)
    shape = NUM_USERS, NUM_ITEMS + 1
    scores = (
        torch.randn(shape, generator=generator, dtype=torch.double)
        if levels is None
        else torch.randint(levels, shape, generator=generator).double()
    )
    order = torch.rand(NUM_USERS, NUM_ITEMS, generator=generator).argsort(1) + 1
    return scores, order[:, 0], order[:, 1 : NUM_NEGATIVES + 1]


def count_rank(scores: list[float], target: int, candidates: Sequence[int]) -> int:
    higher = sum(scores[item] > scores[target] for item in candidates)
    tied = sum(scores[item] == scores[target] for item in candidates if item != target)
    return 1 + higher + tied


def metrics_of(ranked: Sequence[int] | Tensor, num_users: int | None = None) -> dict[str, float]:
    metric = RankingMetrics(len(ranked) if num_users is None else num_users, CUTOFFS)
    metric.update(torch.arange(len(ranked)), torch.as_tensor(ranked))
    return metric.compute()


@pytest.mark.parametrize("padding", [-1e9, 1.0, 1e9, float("inf")])
@pytest.mark.parametrize("levels", [2, 4, None])
def test_ranks_equal_counting_whatever_the_padding_scores(levels: int | None, padding: float) -> None:
    scores, target, negatives = draw(0, levels)
    scores[:, 0] = padding
    sampled, full = ranks(scores, target, negatives)
    rows = list(zip(scores.tolist(), target.tolist(), negatives.tolist(), strict=True))
    assert sampled.tolist() == [count_rank(*row) for row in rows]
    assert full.tolist() == [count_rank(row, item, range(1, NUM_ITEMS + 1)) for row, item, _ in rows]


@pytest.mark.parametrize("constant", [0.0, -3.5, float("-inf")])
def test_a_constant_model_comes_last(constant: float) -> None:
    scores, target, negatives = draw(1)
    sampled, full = ranks(torch.full_like(scores, constant), target, negatives)
    assert set(sampled.tolist()) == {NUM_NEGATIVES + 1}
    assert set(full.tolist()) == {NUM_ITEMS}
    assert metrics_of(sampled)["recall@5"] == metrics_of(sampled)["ndcg@5"] == 0
    assert metrics_of(full)["recall@10"] == metrics_of(full)["ndcg@10"] == 0


@pytest.mark.parametrize("which", ["target", "negative", "other", "all"])
def test_a_user_scored_with_nan_is_an_error_and_not_a_rank(which: str) -> None:
    scores, target, negatives = draw(2)
    drawn = {int(target[3]), *negatives[3].tolist()}
    other = next(item for item in range(1, NUM_ITEMS + 1) if item not in drawn)
    scores[3, {"target": target[3], "negative": negatives[3, 0], "other": other, "all": slice(None)}[which]] = torch.nan
    for ranked in ranks(scores, target, negatives):
        assert (ranked < 1).nonzero().flatten().tolist() == [3]
        with pytest.raises(InputError, match=r"scores 1 users with NaN.*optimizer\.lr"):
            metrics_of(ranked)


def test_minus_infinity_is_the_lowest_score() -> None:
    scores, target, negatives = draw(3)
    scores[0, target[0]] = float("-inf")
    scores[1, 1:] = float("-inf")
    scores[1, target[1]] = 0
    for ranked, last in zip(ranks(scores, target, negatives), (NUM_NEGATIVES + 1, NUM_ITEMS), strict=True):
        assert ranked[:2].tolist() == [last, 1]
        assert metrics_of(ranked)["mrr"] > 0


def catalogue(num_items: int, num_users: int, size: int, levels: int | None) -> tuple[Tensor, ...]:
    """Queries, an item table whose rows repeat, biases, targets and negatives; few levels make all scores tie often."""
    generator = torch.Generator().manual_seed(0)
    queries, vectors = (torch.randn(count, size, generator=generator) for count in (num_users, num_items // 2 + 1))
    table, bias = torch.cat([vectors, vectors])[: num_items + 1], torch.randn(num_items + 1, generator=generator)
    if levels is not None:
        queries, table, bias = ((tensor * levels).round() for tensor in (queries, table, bias))
    target, *negatives = torch.randint(1, num_items + 1, (8, num_users), generator=generator)
    return queries, table, bias, target, torch.stack(negatives, 1)


@pytest.mark.parametrize("levels", [None, 0, 1])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("num_items", [35, 63, 64, 200])
def test_blocks_of_items_give_the_ranks_of_whole_rows(
    num_items: int, has_bias: bool, levels: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, table, bias, *others = catalogue(num_items, 30, 5, levels)
    whole = ranks(F.linear(queries, table, bias if has_bias else None), *others)
    monkeypatch.setitem(BYTES_AT_ONCE, "cpu", 4 * 256)  # 4 users and at most 64 items
    found = rank_targets(queries, table, bias if has_bias else None, *others)
    assert [rank.tolist() for rank in found] == [rank.tolist() for rank in whole]


def test_blocks_of_items_tell_scores_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, table, _, *others = catalogue(200, 30, 5, None)
    monkeypatch.setitem(BYTES_AT_ONCE, "cpu", 4 * 256)
    queries[7] = torch.nan
    for rank in rank_targets(queries, table, None, *others):
        assert (rank < 1).nonzero().flatten().tolist() == [7]


def test_half_a_million_items_are_ranked_in_bounded_memory_as_they_are_whole() -> None:
    queries, table, bias, target, negatives = catalogue(500_000, 40, 64, None)
    with Largest(table) as largest:
        found = rank_targets(queries, table, bias, target, negatives)
    assert largest.bytes <= BYTES_AT_ONCE["cpu"]
    scores = F.linear(queries, table, bias)
    assert scores.nbytes > 10 * BYTES_AT_ONCE["cpu"]
    for rank, expected in zip(found, ranks(scores, target, negatives), strict=True):
        assert rank.equal(expected)


def test_metrics_by_hand() -> None:
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


@pytest.mark.parametrize("protocol", ["sampled", "full"])
def test_metrics_equal_torchmetrics_where_nothing_ties(protocol: str) -> None:
    scores, target, negatives = draw(4)
    sampled, full = ranks(scores, target, negatives)
    others = torch.arange(1, NUM_ITEMS + 1).expand(NUM_USERS, -1)
    candidates = torch.cat([target[:, None], negatives], 1) if protocol == "sampled" else others
    user = torch.arange(NUM_USERS)[:, None].expand_as(candidates)
    positive = scores.sigmoid()  # in the same order: torchmetrics' recall takes only positive scores for retrieved
    triple = positive.gather(1, candidates), candidates == target[:, None], user
    expected = {"mrr": RetrievalMRR()(*triple)}
    for k in CUTOFFS:
        expected[f"recall@{k}"] = RetrievalHitRate(top_k=k)(*triple)
        expected[f"ndcg@{k}"] = RetrievalNormalizedDCG(top_k=k)(*triple)
        assert RetrievalRecall(top_k=k)(*triple) == expected[f"recall@{k}"]  # with one relevant item
    found = metrics_of(sampled if protocol == "sampled" else full)
    assert found == pytest.approx({name: value.item() for name, value in expected.items()}, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 256, 1000])
def test_metrics_do_not_depend_on_batches_and_their_order_to_the_last_bit(batch_size: int) -> None:
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


def test_two_processes_with_unequal_shares_give_the_metrics_of_one_to_the_last_bit(tmp_path: Path) -> None:
    ranked = torch.randint(1, 102, (100,), generator=torch.Generator().manual_seed(5))
    # As cold as spawn, but the libraries are imported once.
    get_context("forkserver").set_forkserver_preload(["pytest", "adamct.metrics", "datamodules.cache"])
    start_processes(rank_in_two_processes, (tmp_path, ranked), nprocs=2, start_method="forkserver")
    for process in range(2):
        values, joined, error = torch.load(tmp_path / f"{process}.pt")
        assert values == metrics_of(ranked)
        assert joined.equal(ranked)  # a user twice would be a sum of ranks
        assert "34 users with NaN" in error  # both stop, or the other would wait for ever


@pytest.mark.filterwarnings("ignore:The ``compute`` method")  # before any update, where there is nothing
def test_reset_forgets() -> None:
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


def test_users_without_a_rank_are_left_out_of_the_means() -> None:
    assert metrics_of([1, 2, 3, 5, 11], num_users=9) == metrics_of([1, 2, 3, 5, 11])
