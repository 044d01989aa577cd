"""Ties, a user's interactions of the same time: their order, and their share of the held-out items."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamct.errors import InputError
from datamodules.preprocessing import Interactions
from datamodules.sources import sha256
from datamodules.splits import GlobalTime, LeaveOneOut
from datamodules.ties import held_out_statistics, shuffle_ties
from tests.conftest import Ended
from tests.datamodules.caches import log_data
from tests.datamodules.small_logs import DAY, SMALL, Times, interactions

DAYS = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=9).map(sorted), min_size=1, max_size=6)


def by_user_and_time(log: Interactions) -> list[list[tuple[int, list[int]]]]:
    """Return for each user the times and the items of each time, in order."""
    users = []
    for start, end in zip(log.offsets[:-1], log.offsets[1:], strict=True):
        items, times = log.items[start:end].tolist(), log.times[start:end].tolist()
        users.append([(t, [i for i, at in zip(items, times, strict=True) if at == t]) for t in dict.fromkeys(times)])
    return users


@settings(deadline=None)
@given(DAYS, st.integers(0, 3))
def test_only_tied_items_change_their_order(days: Times, seed: int) -> None:
    log = interactions(days)
    before = log.items.copy()
    shuffled = shuffle_ties(log, seed)
    assert log.items.tolist() == before.tolist()
    assert shuffled.items.dtype == before.dtype
    for found, expected in zip(by_user_and_time(shuffled), by_user_and_time(log), strict=True):
        assert [(time, sorted(items)) for time, items in found] == expected  # items of `interactions` are ascending
    assert all(same is other for same, other in zip(shuffled[1:], log[1:], strict=True))
    assert shuffle_ties(log, seed).items.tolist() == shuffled.items.tolist()


def test_every_order_of_a_tie_is_equally_likely() -> None:
    log = interactions([[0], [1, 1, 1], [1, 2]])
    orders = Counter(tuple(shuffle_ties(log, seed).items[1:4].tolist()) for seed in range(1200))
    assert len(orders) == 6
    assert max(abs(count - 200) for count in orders.values()) < 4 * 200**0.5


def plain_tied(days: Times, from_end: int) -> float:
    return float(np.mean([user[-from_end] == user[-from_end - 1] for user in days]))


@settings(deadline=None)
@given(DAYS)
def test_tied_shares_equal_a_plain_loop_in_any_order(days: Times) -> None:
    log = interactions([[DAY * day for day in user] for user in days])
    for same in (log, shuffle_ties(log, 0)):
        found = held_out_statistics(same, LeaveOneOut().split(same), True)
        expected = (len(days), len(days), plain_tied(days, 2), plain_tied(days, 1), None, None)
        assert found == expected
    unknown = held_out_statistics(log, LeaveOneOut().split(log), False)
    assert (unknown.validation_tied, unknown.test_tied) == (None, None)


@settings(deadline=None)
@given(DAYS)
def test_an_item_held_out_by_time_is_later_than_its_history(days: Times) -> None:
    log = interactions(days)
    try:
        split = GlobalTime(1, 3).split(log)
    except InputError:
        return
    assert held_out_statistics(log, split, True)[2:] == (0.0, 0.0, 1, 3)


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Write a log of forty users with six interactions on three days; half have validation and test on one day."""
    rng = np.random.default_rng(0)
    rows = [
        {"user": f"u{user}", "item": f"i{rng.integers(30)}", "timestamp": DAY * (at + user % 2) // (2 * DAY) * DAY}
        for user in range(40)
        for at in range(6)
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "days.csv")
    return tmp_path / "days.csv"


def data(log: Path, *more: str) -> list[str]:
    return [*SMALL, "dataset.max_len=4", "trainer.max_epochs=1", f"dataset.path={log}", f"data_dir={log.parent}", *more]


@pytest.mark.slow
def test_weights_are_tested_with_their_own_order_of_ties(
    days: Path, tmp_path: Path, run: Callable[..., Ended], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = run(*data(days), "dataset.ties=shuffle", "seed=3", f"hydra.run.dir={tmp_path}/run")
    assert ended.code == 0, ended.line
    assert "50.0% of validation items, 50.0% of test items" in capsys.readouterr().out
    dataset = json.loads((tmp_path / "run" / "results.json").read_text())["dataset"]
    assert (dataset["ties"], dataset["ties_seed"]) == ("shuffle", 3)
    assert dataset["source_sha256"] == sha256(days)
    assert (dataset["held_out"]["validation_tied"], dataset["held_out"]["test_tied"]) == (0.5, 0.5)
    # The weights may have been trained on the test items of another order.
    test = ["stages=[test]", f"ckpt={tmp_path}/run/checkpoints/best.ckpt", f"hydra.run.dir={tmp_path}/other"]
    ended = run(*data(days), *test, "seed=3")
    assert "was trained with dataset.ties=shuffle, but this run has dataset.ties=file" in ended.line
    ended = run(*data(days), *test, "dataset.ties=shuffle", "seed=4")
    assert "was trained with dataset.ties_seed=3, but this run has dataset.ties_seed=4" in ended.line


def test_both_orders_of_ties_share_the_prepared_arrays(days: Path) -> None:
    in_file_order = log_data(days.parent, days)
    shuffled = log_data(days.parent, days, ties="shuffle", seed=1)
    assert isinstance(in_file_order.interactions.items, np.memmap)
    assert shuffled.interactions.items.tolist() == shuffle_ties(in_file_order.interactions, 1).items.tolist()
    assert shuffled.interactions.items.tolist() != in_file_order.interactions.items.tolist()
    assert len(list((days.parent / "cache").glob("*/items.*"))) == 1
    assert (in_file_order.has_times, in_file_order.identity["ties"]) == (True, "file")


def test_a_sequence_file_has_no_ties(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("ann x y z\nbob y z w x\n")
    with pytest.raises(
        InputError, match=re.escape(f"{path}: a .txt file is a sequence file, without times; give dataset.t")
    ):
        _ = log_data(tmp_path, path, ties="shuffle").interactions
    assert log_data(tmp_path, path).held_out == (2, 2, None, None, None, None)


def test_an_unknown_order_of_ties_is_refused(days: Path) -> None:
    with pytest.raises(InputError, match=r"ties=random: must be"):
        log_data(days.parent, days, ties="random")
