"""The fingerprint of the data: the hash of the prepared sequences, independent of their file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.columns import Columns
from datamodules.fingerprint import contents, digests, fingerprint
from datamodules.preprocessing import Interactions
from tests.datamodules.caches import log_data, three_users

LOG = pl.DataFrame(
    {
        "user": ["ann", "ann", "bob", "ann", "bob", "bob", "cat", "cat", "cat", "dan"],
        "item": ["x", "y", "y", "y", "z", "x", "x", "y", "y", "w"],
        "timestamp": [5, 6, 5, 6, 7, 9, 1, 2, 3, 4],
        "rating": [5, 1, 4, 3, 5, 5, 4, 4, 4, 5],
        "second_user": ["a", "a", "b", "a", "b", "b", "a", "a", "b", "b"],
    }
)
FORMATS = {
    "log.csv": LOG.write_csv,
    "other.tsv": lambda file: LOG.write_csv(file, separator="\t"),
    "log.jsonl": LOG.write_ndjson,
    "log.parquet": LOG.write_parquet,
    "floats.csv": LOG.cast({"timestamp": pl.Float64}).write_csv,
}


def of(interactions: Interactions, has_times: bool = True) -> str:
    return fingerprint(digests(contents(interactions)), has_times)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    LOG.write_csv(tmp_path / "log.csv")
    return tmp_path / "log.csv"


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_data_in_any_format_has_one_fingerprint(tmp_path: Path, log: Path, name: str) -> None:
    file = tmp_path / "elsewhere" / name
    file.parent.mkdir()
    FORMATS[name](file)
    assert log_data(tmp_path, file).fingerprint == log_data(tmp_path, log).fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        {"min_user": 1},
        {"min_rating": 4},
        {"min_item": 2},
        {"repeats": "first"},
        {"repeats": "last"},
        {"repeats": "consecutive"},
        {"columns": Columns(user="second_user")},
        {"columns": Columns(timestamp="rating")},
    ],
)
def test_a_changed_preparation_changes_the_fingerprint(tmp_path: Path, log: Path, changed: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"min_user": 2}
    before, after = log_data(tmp_path, log, **usual), log_data(tmp_path, log, **usual | changed)
    assert after.identity["sha256"] != before.identity["sha256"]
    assert after.source_sha256 == before.source_sha256


def test_filtered_interactions_do_not_change_the_fingerprint(tmp_path: Path, log: Path) -> None:
    before = log_data(tmp_path, log)
    pl.concat([LOG, LOG[-1:].with_columns(user=pl.lit("eve"))]).write_csv(tmp_path / "more.csv")
    after = log_data(tmp_path, tmp_path / "more.csv")
    assert after.fingerprint == before.fingerprint
    assert after.source_sha256 != before.source_sha256


def test_the_order_of_ties_changes_only_the_identity(tmp_path: Path, log: Path) -> None:
    by_seed = {
        (ties, seed): log_data(tmp_path, log, ties=ties, seed=seed) for ties in ("file", "shuffle") for seed in range(3)
    }
    assert len({module.fingerprint for module in by_seed.values()}) == 1
    assert len({json.dumps(module.identity) for module in by_seed.values()}) == 4  # one of the file, three of seeds


def test_times_of_a_sequence_file_are_not_in_the_fingerprint(tmp_path: Path) -> None:
    """After the k-core, a file then has the fingerprint of a file that never had the removed items."""
    (tmp_path / "whole.txt").write_text("ann x w y z\nbob x y z\n")
    (tmp_path / "rest.txt").write_text("ann x y z\nbob x y z\n")
    LOG[:6].write_csv(tmp_path / "log.csv")
    whole, rest = (log_data(tmp_path, tmp_path / f"{name}.txt", min_item=2) for name in ("whole", "rest"))
    assert not np.array_equal(whole.interactions.times, rest.interactions.times)
    assert whole.fingerprint == rest.fingerprint
    assert of(rest.prepared.interactions, has_times=True) != rest.fingerprint


def test_byte_order_and_width_do_not_change_the_fingerprint() -> None:
    """The hash is the same on every machine: its bytes are defined."""
    data = three_users()._replace(times=np.arange(12))
    foreign = data._replace(
        items=data.items.astype(">i8"), offsets=data.offsets.astype(">i4"), times=data.times.astype(">f8")
    )
    assert of(foreign) == of(data)
    parts = {name: bytes(part) for name, part in contents(foreign).items()}
    assert parts["items.int32"] == b"".join(int(item).to_bytes(4, "little") for item in data.items)
    assert parts["times.int64"] == b"".join(int(time).to_bytes(8, "little") for time in data.times)
    assert parts["user_ids.json"] == b'["a", "b", "c"]'


@pytest.mark.parametrize("part", ["items", "offsets", "times"])
def test_one_changed_number_changes_the_fingerprint(part: str) -> None:
    data = three_users()
    for place in range(len(getattr(data, part))):
        changed = getattr(data, part).copy()
        changed[place] += 1
        assert of(data._replace(**{part: changed})) != of(data)


@given(*[st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=3)] * 4)
def test_equal_ids_mean_equal_fingerprints(
    users: list[str], items: list[str], other_users: list[str], other_items: list[str]
) -> None:
    first, second = (
        three_users()._replace(user_ids=pl.Series(one, dtype=pl.String), item_ids=pl.Series(two, dtype=pl.String))
        for one, two in ((users, items), (other_users, other_items))
    )
    assert (of(first) == of(second)) == ((users, items) == (other_users, other_items))


@pytest.mark.parametrize(
    ("ids", "others"),
    [(["a", "bc"], ["ab", "c"]), (['a", "b'], ["a", "b"]), (["a\nb"], ["a", "b"]), (["é"], ["\\u00e9"])],
)
def test_no_character_separates_ids(ids: list[str], others: list[str]) -> None:
    data = three_users()
    assert of(data._replace(user_ids=pl.Series(ids))) != of(data._replace(user_ids=pl.Series(others)))
