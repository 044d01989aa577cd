"""The ranks of test items in lists, and which of them are known."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from adamct.evaluate.known import SAMPLES, TOO_SHORT, WITHOUT_SEEN
from tests.evaluate.lists import NUM_ITEMS, dataset, expected, ranked, scores, seen, table, write

RANKINGS = ("uni20", "full", "full_unseen")


@pytest.mark.parametrize("levels", [3, 10**6])
def test_scores_of_all_items_give_the_ranks_of_a_run(levels: int, tmp_path: Path) -> None:
    everything = scores(levels)
    _, rankings = ranked(write(table(everything), tmp_path / "all.parquet"))
    assert tuple(rankings) == RANKINGS
    for ranking, ranks in zip(rankings.values(), expected(everything), strict=True):
        assert (ranking.unknown, ranking.depth) == (None, math.inf)
        assert ranking.ranks.tolist() == ranks.tolist()


@pytest.mark.parametrize("without_seen", [False, True])
def test_short_lists_give_the_ranks_within_their_length(without_seen: bool, tmp_path: Path) -> None:
    everything, k = scores(10**6), 20
    _, rankings = ranked(write(table(everything, k, without_seen), tmp_path / "top.csv"))
    _, full, full_unseen = expected(everything)
    assert rankings["uni20"].unknown is not None
    found = full_unseen <= (k if without_seen else rankings["full_unseen"].depth)
    assert rankings["full_unseen"].ranks[found].tolist() == full_unseen[found].tolist()
    if without_seen:
        assert rankings["full"].unknown == WITHOUT_SEEN
        assert rankings["full_unseen"].depth == k
        assert rankings["full_unseen"].ranks.tolist() == full_unseen.where(found, NUM_ITEMS).tolist()
    else:
        assert rankings["full"].depth == k > rankings["full_unseen"].depth
        assert rankings["full"].ranks.tolist() == full.where(full <= k, NUM_ITEMS).tolist()


def test_seen_items_below_all_others_count_as_left_out(tmp_path: Path) -> None:
    everything = scores(10**6)
    for user, items in seen().items():
        everything[user, list(items)] = -1e9
    _, rankings = ranked(write(table(everything), tmp_path / "masked.parquet"))
    assert rankings["full"].unknown == WITHOUT_SEEN
    assert rankings["full_unseen"].ranks.tolist() == expected(everything).full_unseen.tolist()


def test_scores_of_sampled_candidates_give_the_sampled_ranking_alone(tmp_path: Path) -> None:
    everything, data = scores(10**6), dataset()
    kept = {
        (data.user_ids[int(user)], data.item_ids[item - 1])
        for histories, (negatives, _) in data.test_dataloader()
        for user, target, row in zip(histories.user, histories.target, negatives, strict=True)
        for item in (int(target), *row.tolist())
    }
    rows = table(everything)
    rows = rows.filter(pl.Series([pair in kept for pair in rows.select("user", "item").iter_rows()]))
    _, rankings = ranked(write(rows, tmp_path / "candidates.csv"))
    assert rankings["uni20"].ranks.tolist() == expected(everything).sampled.tolist()
    assert rankings["full"].unknown == rankings["full_unseen"].unknown == SAMPLES


def test_one_short_list_limits_the_metrics_unless_it_has_its_test_item(tmp_path: Path) -> None:
    everything = scores(10**6)
    places = expected(everything).full_unseen.tolist()
    hit, miss = int(np.argmin(places)), int(np.argmax(places))
    rows = table(everything, 20, without_seen=True)
    for user, length, depth in ((hit, places[hit], 20), (miss, 7, 7), (miss, 0, 20)):
        shorter = rows.filter((pl.col("user") != str(user)) | (pl.col("rank") <= length))
        counted, rankings = ranked(write(shorter, tmp_path / "shorter.csv"))
        assert rankings["full_unseen"].depth == depth
        assert rankings["full_unseen"].ranks[miss] == NUM_ITEMS
        assert (counted.without_list, counted.first_without_list) == ((1, str(miss)) if length == 0 else (0, None))


def test_lists_below_all_cutoffs_give_nothing(tmp_path: Path) -> None:
    file = write(table(scores(10**6), 3, without_seen=True), tmp_path / "three.csv")
    assert ranked(file, (3, 5))[1]["full_unseen"].unknown is None
    assert ranked(file, (4, 5))[1]["full_unseen"].unknown == TOO_SHORT.format(3)


def test_groups_of_users_give_the_same_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(table(scores(5), 30).sample(fraction=1, shuffle=True, seed=1), tmp_path / "shuffled.csv")
    one_group = ranked(file)
    monkeypatch.setattr("adamct.evaluate.numbered.ROWS_AT_ONCE", 70)
    counted, rankings = ranked(file)
    assert counted == one_group[0]
    for name, ranking in rankings.items():
        assert ranking.ranks.tolist() == one_group[1][name].ranks.tolist()
