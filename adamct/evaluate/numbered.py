"""The rows of a file of recommendations with the numbers of a dataset's users and items, by groups of users.

The numbers are first written to a Parquet file in a temporary folder. Reading a group of users from it needs neither
the text of the recommendations nor memory for all of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int

from adamct.errors import InputError, require, writing
from adamct.evaluate.lists import Lists, reading

ROWS_AT_ONCE = 2**23
"""The rows that are in memory together, except that all rows of a user are: about 1 GB."""
WRONG = (pl.any_horizontal(pl.col("user", "item", "value").is_null()) | pl.col("value").is_nan()).fill_null(True)
"""Whether a row lacks a value or has NaN."""


class Unknown(NamedTuple):
    """The ids of a file that the prepared log does not have."""

    ids: int
    rows: int
    first: str | None
    """The first of the ids; None if all are known."""


class NumberedLists(NamedTuple):
    """The rows of a file as numbers."""

    file: Path
    """Parquet with ``user`` from 0, ``item`` from 1 and ``value``; null stands for an unknown user or item."""
    rows: int
    lengths: Int[np.ndarray, " U"]
    """The number of rows of each user, with those of unknown items."""
    unknown_users: Unknown
    unknown_items: Unknown

    def groups(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of known users and items, a group of consecutive users at a time."""
        ends, first = np.cumsum(self.lengths), 0
        while first < len(ends):
            before = ends[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + ROWS_AT_ONCE, side="right")))
            in_group = pl.col("user").is_between(first, last - 1) & pl.col("item").is_not_null()
            yield pl.scan_parquet(self.file).filter(in_group).collect(engine="streaming")
            first = last


def number(lists: Lists, user_ids: Sequence[str], item_ids: Sequence[str], folder: Path) -> NumberedLists:
    """Give the users and items of a file their numbers.

    Args:
        lists: the recommendations.
        user_ids: the ids of the dataset's users.
        item_ids: the ids of its items, that of item i at position i - 1.
        folder: the folder for the numbers.

    Raises:
        InputError: the file cannot be read, a row lacks a value or has NaN, or all users or all items are unknown.
    """
    users = pl.LazyFrame({"user": user_ids}).with_row_index("user_number")
    items = pl.LazyFrame({"item": item_ids}).with_row_index("item_number", 1)
    rows = lists.rows.join(users, on="user", how="left").join(items, on="item", how="left")
    file = folder / "numbers.parquet"
    numbers = rows.select(wrong_row=pl.when(WRONG).then("row"), user="user_number", item="item_number", value="value")
    with reading(lists.path), writing(folder):
        numbers.sink_parquet(file)
    table = pl.scan_parquet(file)
    counts = table.select(pl.len(), pl.col("wrong_row").min(), pl.col("user", "item").null_count())
    count, wrong_row, *unknown_rows = counts.collect(engine="streaming").row(0)
    require(count > 0, f"{lists.path}: holds no recommendations")
    if wrong_row is not None:
        raise InputError(explain_row(lists, wrong_row))
    unknown = [unknown_ids(rows, *each) for each in zip(("user", "item"), unknown_rows, strict=True)]
    for name, ids, one in zip(("user", "item"), (user_ids, item_ids), unknown, strict=True):
        require(
            one.rows < count,
            f"{lists.path}: none of its {name}s is in the prepared log, which has {ids[0]!r}, but not {one.first!r}",
        )
    return NumberedLists(file, count, rows_per_user(table, len(user_ids)), *unknown)


def rows_per_user(table: pl.LazyFrame, users: int) -> Int[np.ndarray, " U"]:
    """Return the number of rows of each user."""
    counts = table.filter(pl.col("user").is_not_null()).group_by("user").len().collect(engine="streaming")
    lengths = np.zeros(users, np.int64)
    lengths[counts["user"].to_numpy()] = counts["len"].to_numpy()
    return lengths


def explain_row(lists: Lists, row: int) -> str:
    """Return the error message of a row that lacks a value or has NaN."""
    found = lists.rows.filter((pl.col("row") == row) & WRONG).head(1).collect(engine="streaming")
    _, user, item, given, _ = found.row(0)
    for name, value in (("user", user), ("item", item), (lists.order, given)):
        if value is None:
            return f"{lists.path}, row {row}: the {name} is missing; fill it in, or delete the row"
    return f"{lists.path}, row {row}: the {lists.order} {given!r:.80} is not a number; correct it, or delete the row"


def unknown_ids(rows: pl.LazyFrame, name: str, count: int) -> Unknown:
    """Describe the unknown users or items, which a file is read again for if it has any."""
    if not count:
        return Unknown(0, 0, None)
    unknown = rows.filter(pl.col(f"{name}_number").is_null())
    ids, first = (
        unknown.select(pl.col(name).n_unique(), first=pl.col(name).sort_by("row").first())
        .collect(engine="streaming")
        .row(0)
    )
    return Unknown(ids, count, first)
