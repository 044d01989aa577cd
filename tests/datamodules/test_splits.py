"""Splits equal loops over users; training items are never later than held-out items."""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from adamct.errors import InputError
from adamct.report.inputs.runs import Run
from adamct.report.sections.provenance import split_text
from datamodules.splits import GlobalTime, HeldOut, LeaveOneOut, seen_before, time_of
from tests.conftest import Ended
from tests.datamodules.small_logs import DAY, SMALL, Times, interactions

TIMES = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8).map(sorted), min_size=1, max_size=6)


@settings(deadline=None)
@given(TIMES, st.integers(-1, 10), st.integers(1, 5))
def test_a_split_by_time_equals_a_plain_loop(times: Times, first: int, further: int) -> None:
    second, start = first + further, 0
    train_end, validation, test = [], [], []
    for user, mine in enumerate(times):
        train_end.append(start + sum(time < first for time in mine))
        for held_out, since, until in ((validation, first, second), (test, second, np.inf)):
            later = [at for at, time in enumerate(mine) if time >= since]
            if later and later[0] > 0 and mine[later[0]] < until:
                held_out.append((user, start + later[0]))
        start += len(mine)
    splitter = GlobalTime(first, second)
    if not validation or not test:
        with pytest.raises(InputError, match=r"no user has an item from then on and one before; the log goes from"):
            splitter.split(interactions(times))
        return
    found = splitter.split(interactions(times))
    assert found.train_end.tolist() == train_end
    assert list(zip(*map(np.ndarray.tolist, found.validation), strict=True)) == validation
    assert list(zip(*map(np.ndarray.tolist, found.test), strict=True)) == test


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 6), min_size=3, max_size=9), min_size=1, max_size=6), st.integers(1, 2))
def test_seen_items_are_all_earlier_items_but_the_target(users: list[list[int]], from_end: int) -> None:
    items, ids = np.concatenate(users).astype(np.int32), pl.Series("id", list("abcdef"))
    log = interactions([[0] * len(user) for user in users])._replace(items=items, item_ids=ids)
    some = np.arange(0, len(users), 2)  # in a split by time, not every user has a held-out item
    found = seen_before(HeldOut(some, log.offsets[1:][some] - from_end), log)
    for place, user in enumerate(some):
        expected = sorted({*users[user][:-from_end]} - {users[user][-from_end]})
        assert found.items[found.bounds[place] : found.bounds[place + 1]].tolist() == expected


def test_leave_one_out_holds_out_the_last_two_items() -> None:
    found = LeaveOneOut().split(interactions([[0] * 3, [0] * 5]))
    assert found.train_end.tolist() == [1, 6]
    assert [part.tolist() for part in found.validation] == [[0, 1], [1, 6]]
    assert [part.tolist() for part in found.test] == [[0, 1], [2, 7]]


def test_leave_one_out_names_a_user_with_too_few_items() -> None:
    with pytest.raises(InputError, match=r"user 'u1' has 2 interactions.*dataset\.min_user"):
        LeaveOneOut().split(interactions([[0] * 3, [0] * 2]))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (5, 5, "dataset.split.validation_from=5: must be before dataset.split.test_from=5"),
        (float("nan"), 5, "validation_from=.nan: must be a finite number"),
        ("90%", "80%", "dataset.split.validation_from=90% (9): must be before dataset.split.test_from=80% (8)"),
        ("80%", 8, "dataset.split.validation_from=80% (8): must be before dataset.split.test_from=8"),
        ("81%", "89%", "dataset.split.validation_from=81% (8): must be before dataset.split.test_from=89% (8)"),
    ],
)
def test_times_in_the_wrong_order_are_errors(first: int | str, second: int | str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        GlobalTime(first, second).split(interactions([[*range(10)]]))


@pytest.mark.parametrize(
    "boundary", ["180%", "100%", "0%", "0.0%", "-5%", "nan%", "%", "80 %", "8e1%", "abc", "5", "", "2014-1-1"]
)
def test_a_boundary_must_be_a_time_or_a_share(boundary: str) -> None:
    with pytest.raises(InputError, match=r"test_from=.*: must be a number or a share of the interactions between 0%"):
        GlobalTime(5, boundary)


BY_TIME = ["dataset/split=global_time"]
NEW_YEAR = 1_388_534_400
"""The seconds from 1970 to 2014-01-01."""


@pytest.mark.parametrize("parts", [1, 10**3, 10**6, 10**9])
def test_a_date_is_a_time_in_the_unit_of_the_log(parts: int) -> None:
    times = np.array([NEW_YEAR - 1, NEW_YEAR, NEW_YEAR + DAY]) * parts
    for text in ("2014-01-01", "2014-01-01T00:00:00", "2014-01-01T00:00:00Z", "2014-01-01 02:00:00+02:00"):
        assert time_of(text, times) == NEW_YEAR * parts
    assert time_of("2014-01-01T00:00:00.5", times) == NEW_YEAR * parts + parts / 2


def test_a_date_needs_a_log_whose_unit_is_known() -> None:
    with pytest.raises(InputError, match=r"the date 2014-01-01 needs times in seconds.* the log goes from 0 to 16000"):
        GlobalTime("2014-01-01", "2014-02-01").split(interactions([[0, 16_000]]))


def test_dates_of_yaml_and_of_the_command_line_stay_text(configure: Callable[..., DictConfig]) -> None:
    assert OmegaConf.create("time: 2014-01-01").time == "2014-01-01"
    dates = ("dataset.split.validation_from=2014-01-01", "dataset.split.test_from=2014-04-01T12:00:00")
    split = configure("dataset=custom", *BY_TIME, *dates).dataset.split
    assert (split.validation_from, split.test_from) == ("2014-01-01", "2014-04-01T12:00:00")


@given(st.lists(st.integers(-3, 6), min_size=1, max_size=30), st.integers(1, 999))
def test_a_share_means_the_latest_time_with_no_more_before(times: list[int], permille: int) -> None:
    share = Fraction(permille, 1000)
    expected = max(time for time in times if Fraction(sum(other < time for other in times), len(times)) <= share)
    assert time_of(f"{permille / 10}%", np.array(times)) == expected


@settings(deadline=None)
@given(TIMES)
def test_shares_split_a_log_of_days_as_their_times_do(days: Times) -> None:
    log = interactions([[1_388_534_400 + DAY * day for day in user] for user in days])
    first, second = time_of("50%", log.times), time_of("75.5%", log.times)
    try:
        expected = GlobalTime(first, second).split(log)
    except InputError:
        with pytest.raises(InputError, match="must be before" if first >= second else "no user has an item"):
            GlobalTime("50%", "75.5%").split(log)
        return
    for splitter in (GlobalTime("50%", "75.5%"), GlobalTime(first, "75.5%"), GlobalTime("50%", second)):
        found = splitter.split(log)
        assert (found.validation_from, found.test_from) == (first, second)
        assert found.train_end.tolist() == expected.train_end.tolist()
        for mine, theirs in ((found.validation, expected.validation), (found.test, expected.test)):
            assert [column.tolist() for column in mine] == [column.tolist() for column in theirs]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Write a log of forty users; half of them have no test item."""
    rng = np.random.default_rng(0)
    rows = [
        {"user": f"u{user}", "item": f"i{rng.integers(30)}", "timestamp": at * 10 + user % 10}
        for user in range(40)
        for at in range(8 if user % 2 else 6)
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "log.csv")
    return tmp_path / "log.csv"


def test_a_run_by_time_tests_users_with_test_items(log: Path, tmp_path: Path, run: Callable[..., Ended]) -> None:
    times = ["dataset.split.validation_from=50", "dataset.split.test_from=60"]
    data = [f"dataset.path={log}", f"data_dir={tmp_path}"]
    ended = run(*SMALL, *BY_TIME, *times, *data, f"hydra.run.dir={tmp_path}/run")
    assert ended.code == 0, ended.line
    ranks = np.load(tmp_path / "run" / "ranks.npz")["full"]
    assert (ranks > 0).tolist() == [bool(user % 2) for user in range(40)]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["dataset"]["split"]["test_from"] == 60
    assert results["dataset"]["held_out"] == {
        "validated_users": 40,
        "tested_users": 20,
        "validation_tied": 0.0,
        "test_tied": 0.0,
        "validation_from": 50,
        "test_from": 60,
    }
    # The weights may have been trained on the test items of another split.
    ended = run(
        *SMALL, *data, "stages=[test]", f"ckpt={tmp_path}/run/checkpoints/best.ckpt", f"hydra.run.dir={tmp_path}/other"
    )
    assert "was trained with dataset.split" in ended.line


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset.split.validation_from=50"], "dataset.split.test_from is not set: give"),
        (["dataset.split.validation_from=50", "dataset.split.test_from=90"], "the log goes from 0 to 79"),
        (
            ["dataset.split.validation_from=80%", "dataset.split.test_from=180%"],
            "dataset.split.test_from=180%: must be a number or a share",
        ),
    ],
)
def test_times_outside_the_log_are_errors(
    overrides: list[str], message: str, log: Path, tmp_path: Path, run: Callable[..., Ended]
) -> None:
    ended = run(*SMALL, *BY_TIME, *overrides, f"dataset.path={log}", f"data_dir={tmp_path}")
    assert ended.code == 1
    assert message in ended.line
    assert "\n" not in ended.line


def test_a_run_records_the_times_of_its_shares(log: Path, tmp_path: Path, run: Callable[..., Ended]) -> None:
    shares = ["dataset.split.validation_from=70%", "dataset.split.test_from=85%"]
    data = [f"dataset.path={log}", f"data_dir={tmp_path}"]
    ended = run(*SMALL, *BY_TIME, *shares, *data, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run")
    assert ended.code == 0, ended.line
    dataset = json.loads((tmp_path / "run" / "results.json").read_text())["dataset"]
    assert (dataset["split"]["validation_from"], dataset["split"]["test_from"]) == ("70%", "85%")
    times = pl.read_csv(log)["timestamp"].sort()
    expected = times[int(0.7 * len(times))], times[int(0.85 * len(times))]
    assert (dataset["held_out"]["validation_from"], dataset["held_out"]["test_from"]) == expected


@pytest.mark.parametrize(
    ("config", "held_out", "expected"),
    [
        ({}, {"test_tied": None}, "each user's last item is the test item, the one before it the validation item"),
        (
            {"dataset.ties": "shuffle"},
            {"test_tied": 0.4352},
            "each user's last item is the test item, the one before it the validation item; 43.5% of test items have "
            "the same time as the item before (ties: shuffle)",
        ),
        (
            {"dataset.split.validation_from": "80%", "dataset.split.test_from": 90, "dataset.ties": "file"},
            {"validation_from": 75, "test_from": 90, "test_tied": 0.0},
            "by time: trained before 75 (80% of the interactions), validated before 90, tested from then on; "
            "0.0% of test items have the same time as the item before (ties: file)",
        ),
    ],
)
def test_reports_describe_the_split_in_words(config: dict[str, Any], held_out: dict[str, Any], expected: str) -> None:
    run = Run(Path("run"), "finished", {}, config, (), {"dataset": {"held_out": held_out}}, "")
    assert split_text(run) == expected


def test_a_sequence_file_cannot_be_split_by_time(tmp_path: Path, run: Callable[..., Ended]) -> None:
    (tmp_path / "log.txt").write_text("u 1 2 3 4 5\n")
    times = ["dataset.split.validation_from=1", "dataset.split.test_from=2"]
    ended = run(*SMALL, *BY_TIME, *times, f"dataset.path={tmp_path}/log.txt", f"data_dir={tmp_path}")
    assert "log.txt: a .txt file is a sequence file, without times; give dataset/split=leave_one_out" in ended.line
