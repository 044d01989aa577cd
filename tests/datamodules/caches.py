"""Small prepared data, its cache, and the data module of a small log."""

from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl

from datamodules.fingerprint import Prepared, contents, digests
from datamodules.preprocessing import Interactions
from datamodules.sources import CACHE_TAG

FACTS: dict[str, object] = {"sha256": "0" * 64, "min_user": 5}
"""The facts that determine a cache entry."""


def three_users(first: int = 1) -> Interactions:
    """Return the sequences of three users, with item ids from ``first``."""
    items = np.arange(first, first + 12, dtype=np.int32)
    user_ids, item_ids = pl.Series("user", ["a", "b", "c"]), pl.Series("item", [f"i{item}" for item in items])
    return Interactions(items, np.array([0, 3, 7, 12]), np.arange(12) * 0.5, user_ids, item_ids)


def never() -> NoReturn:
    """Fail, as the builder of an entry that must not be built."""
    raise AssertionError("built again")


def assert_equal(prepared: Prepared, expected: Interactions) -> None:
    """Assert that prepared data is these sequences, with their types and digests."""
    found = prepared.interactions
    assert prepared.digests == digests(contents(expected))
    for mine, theirs in zip(found[:3], expected[:3], strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert [ids.to_list() for ids in found[3:]] == [ids.to_list() for ids in expected[3:]]


def names(folder: Path) -> list[str]:
    """Return the names of a folder's files, without the mark of a cache."""
    return sorted({path.name for path in folder.iterdir()} - {CACHE_TAG})


def log_data(folder: Path, path: Path | None, expect: tuple[int, int, int] | None = None, **changed: Any) -> Any:
    """Build the data module of a small log, with its cache in a folder and some arguments changed."""
    # The processes of a test import this file: datamodules.log, which takes seconds, is imported where it is used.
    from datamodules.columns import Columns
    from datamodules.log import Counts, LogDataModule
    from datamodules.negatives import UniformNegatives
    from datamodules.splits import LeaveOneOut

    arguments: dict[str, Any] = {
        "path": None if path is None else str(path),
        "download": None,
        "columns": Columns(),
        "min_rating": None,
        "repeats": "all",
        "min_user": 3,
        "min_item": 1,
        "ties": "file",
        "expect": None if expect is None else Counts(*expect),
        "cache_dir": str(folder / "cache"),
        "split": LeaveOneOut(),
        "max_len": 5,
        "batch_size": 2,
        "eval_batch_size": 2,
        "negatives": UniformNegatives(1, "seen", 0),
        "seed": 0,
        "shuffle_histories": False,
    }
    return LogDataModule(**arguments | changed)
