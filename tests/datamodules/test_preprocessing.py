"""The k-core, order and numbering equal plain Python; real files have the counts of the paper's Table 1."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamct.errors import InputError
from datamodules.preprocessing import (
    Interactions,
    Repeats,
    Statistics,
    build_sequences,
    k_core,
    statistics,
    without_repeats,
)
from datamodules.sources import read_log

DATA = Path(__file__).parents[3] / "shared" / "data"

Row = tuple[str, str, int | float]


def logs(times: st.SearchStrategy) -> st.SearchStrategy[list[Row]]:
    """Draw logs with few users, items and times, so that pairs repeat and times tie."""
    return st.lists(st.tuples(st.sampled_from("zyxw"), st.sampled_from("54321"), times), max_size=40)


TIMES = st.integers(-2, 2) | st.sampled_from([2**62, 2**62 + 1])
FRACTIONS = st.sampled_from([-1.5, -0.0, 0.0, 0.25])


def frame(rows: list[Row], dtype: type[pl.DataType] = pl.Int64) -> pl.DataFrame:
    return pl.DataFrame(rows, {"user": pl.String, "item": pl.String, "timestamp": dtype}, orient="row")


def plain_k_core(rows: list[Row], min_user: int, min_item: int) -> list[Row]:
    """Remove one row at a time, as long as a user or an item has too few."""
    rows = list(rows)
    while True:
        users, items = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
        weak = [row for row in rows if users[row[0]] < min_user or items[row[1]] < min_item]
        if not weak:
            return rows
        rows.remove(weak[0])


@settings(deadline=None)
@given(logs(TIMES), st.integers(0, 5), st.integers(0, 5))
def test_k_core_equals_removing_row_by_row(rows: list[Row], min_user: int, min_item: int) -> None:
    users, items = (np.array([ord(f"{row[at]}") for row in rows], np.int32) for at in (0, 1))
    stay = k_core(users, items, min_user, min_item)
    assert [rows[row] for row in stay] == plain_k_core(rows, min_user, min_item)


@settings(deadline=None)
@given(logs(TIMES).map(lambda rows: (rows, pl.Int64)) | logs(FRACTIONS).map(lambda rows: (rows, pl.Float64)))
def test_sequences_equal_a_plain_loop(log: tuple[list[Row], type[pl.DataType]]) -> None:
    core = plain_k_core(log[0], 3, 2)
    if not core:
        return
    found = build_sequences(frame(*log), 3, 2)
    users, items = list(dict.fromkeys(row[0] for row in core)), list(dict.fromkeys(row[1] for row in core))
    assert found.user_ids.to_list() == users
    assert found.item_ids.to_list() == items
    sequences, times = (np.split(array, found.offsets[1:-1]) for array in (found.items, found.times))
    for user, sequence, when in zip(users, sequences, times, strict=True):
        rows = sorted((row for row in core if row[0] == user), key=lambda row: row[2])  # sorted is stable
        assert sequence.tolist() == [1 + items.index(row[1]) for row in rows]
        assert when.tolist() == [row[2] for row in rows]
    assert (found.items.dtype, found.offsets.dtype) == (np.int32, np.int64)
    assert (found.offsets[0], found.offsets[-1]) == (0, len(core))


def test_ties_keep_file_order_in_a_long_log() -> None:
    length = 65_535
    rows: list[Row] = [("u", str(at), at % 2) for at in range(length)]
    expected = [*range(1, length + 1, 2), *range(2, length + 1, 2)]
    assert build_sequences(frame(rows), 1, 1).items.tolist() == expected


def test_an_empty_core_is_an_error_with_the_counts() -> None:
    log = frame([("a", "x", 1), ("a", "y", 2), ("b", "x", 3)])
    expected = r"3 rows, 2 users and 2 items with dataset\.min_user=5 and dataset\.min_item=4"
    with pytest.raises(InputError, match=expected):
        build_sequences(log, 5, 4)


def test_statistics_equal_a_count_by_hand() -> None:
    log = frame([(user, item, 0) for user, count in (("a", 3), ("b", 5)) for item in "xyzwx"[:count]])
    assert statistics(build_sequences(log, 1, 1)) == Statistics(8, 2, 4, 8 / 2, 8 / 4, 1 - 8 / (2 * 4))


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # paper, Table 1
        ("beauty", (198_502, 22_363, 12_101, "8.9", "16.4", "99.93%")),
        ("sports", (296_337, 35_598, 18_357, "8.3", "16.1", "99.95%")),
        ("toys", (167_597, 19_412, 11_924, "8.6", "14.1", "99.93%")),
    ],
)
def test_real_files_have_the_counts_of_table_1(name: str, expected: tuple) -> None:
    if not DATA.exists():
        pytest.skip("the real data is not here")
    found: Interactions = build_sequences(read_log(DATA / f"{name}.txt"), 5, 5)
    counts = statistics(found)
    shown = (f"{counts.mean_user_len:.1f}", f"{counts.mean_item_len:.1f}", f"{counts.sparsity:.2%}")
    assert (*counts[:3], *shown) == expected
    assert found.item_ids.to_list() == [str(item) for item in range(1, counts.items + 1)]  # first-appearance ids


def plain_without_repeats(rows: list[Row], repeats: str) -> list[Row]:
    """Remove repeats user by user, in time order."""
    kept = []
    for user in dict.fromkeys(row[0] for row in rows):
        mine = sorted((row[2], place) for place, row in enumerate(rows) if row[0] == user)
        places = [place for _, place in mine]
        for at, place in enumerate(places):
            item = rows[place][1]
            before, after = ([rows[p][1] for p in some] for some in (places[:at], places[at + 1 :]))
            repeated = {"all": False, "first": item in before, "last": item in after}
            repeated["consecutive"] = bool(before) and before[-1] == item
            kept += [] if repeated[repeats] else [place]
    return [rows[place] for place in sorted(kept)]


@pytest.mark.parametrize("repeats", ["all", "first", "last", "consecutive"])
@settings(deadline=None, max_examples=60)
@given(rows=logs(TIMES))
def test_repeats_equal_plain_python(repeats: Repeats, rows: list[Row]) -> None:
    assert without_repeats(frame(rows), repeats).rows() == plain_without_repeats(rows, repeats)


@pytest.mark.skipif(not DATA.exists(), reason="the real data is not here")
def test_a_review_file_gives_the_sequences_it_was_made_from(tmp_path: Path) -> None:
    import gzip
    import json

    expected = build_sequences(read_log(DATA / "beauty.txt"), 5, 5)
    day, items_a_day = 86_400, 4
    with gzip.open(tmp_path / "reviews_Beauty_5.json.gz", "wt", compresslevel=1) as file:
        for line in (DATA / "beauty.txt").read_text().splitlines():
            user, *items = line.split()
            for at, item in enumerate(items):
                time = 1_400_000_000 // day * day + at // items_a_day * day
                review = {"reviewerID": f"A{user}", "asin": f"B{item}", "overall": 5.0, "unixReviewTime": time}
                file.write(json.dumps(review) + "\n")
    found = build_sequences(read_log(tmp_path / "reviews_Beauty_5.json.gz"), 5, 5)
    assert statistics(found)[:3] == (198_502, 22_363, 12_101)
    assert np.array_equal(found.items, expected.items)
    assert np.array_equal(found.offsets, expected.offsets)
    assert found.item_ids.to_list() == [f"B{item}" for item in expected.item_ids]
