"""Metrics against fractions by hand, torchmetrics, and several processes."""

from collections.abc import Sequence
from math import log2
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import start_processes
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR, RetrievalNormalizedDCG, RetrievalRecall

from adamct.batch import Ranks
from adamct.errors import InputError
from adamct.evaluation.metrics import ListMetrics, RankingMetrics
from adamct.evaluation.ranking import ranks
from tests.evaluation.oracles import CUTOFFS, NUM_ITEMS, NUM_USERS, draw, metrics_of


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
