"""From a log of interactions to one item sequence per user: k-core, time order, dense ids. Pure functions.

A log is a frame as ``read_log`` returns it: ``user`` and ``item`` (String), ``timestamp`` (a number), in file order.
Each row is an interaction, also if the user and the item are repeated.
"""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from adamct.batch import Statistics
from adamct.errors import InputError

Repeats = Literal["all", "first", "last", "consecutive"]


class Interactions(NamedTuple):
    """The sequences of U users over V items, concatenated, each in time order."""

    items: npt.NDArray[np.int32]
    """Item ids from 1 to V (0 is left for padding), all users concatenated."""
    offsets: npt.NDArray[np.int64]
    """U + 1 indices: the sequence of user u is ``items[offsets[u]:offsets[u + 1]]``."""
    times: npt.NDArray[np.number]
    """The time of each interaction, in the log's unit."""
    user_ids: pl.Series
    """Original ids: position u for user u."""
    item_ids: pl.Series
    """Original ids: position i - 1 for item i."""


def without_repeats(log: pl.DataFrame, repeats: Repeats) -> pl.DataFrame:
    """Remove repeated interactions of a user with the same item, and keep file order.

    Args:
        log: a log.
        repeats: ``all`` removes nothing. ``first`` and ``last`` keep one interaction of each pair, by time and then by
            row. ``consecutive`` removes an interaction if the user's previous item is the same.
    """
    if repeats == "all":
        return log
    ordered = log.with_row_index("row").sort("user", "timestamp", maintain_order=True)
    if repeats == "consecutive":
        kept = ordered.filter((pl.col("item") != pl.col("item").shift(1).over("user")).fill_null(True))
    else:
        kept = ordered.unique(["user", "item"], keep="first" if repeats == "first" else "last", maintain_order=True)
    return kept.sort("row").drop("row")


def build_sequences(log: pl.DataFrame, min_user: int, min_item: int) -> Interactions:
    """Filter a log to its k-core, number users and items, and put each user's items into time order.

    Users and items are numbered in the order of first appearance among the rows of the k-core. A user's rows of the
    same time stay in file order.

    Raises:
        InputError: the k-core is empty.
    """
    users, user_ids = _encode(log["user"])
    items, item_ids = _encode(log["item"])
    rows = k_core(users, items, min_user, min_item)
    if not len(rows):
        raise InputError(
            f"nothing is left of {log.height} rows, {log['user'].n_unique()} users and {log['item'].n_unique()} items"
            f" with dataset.min_user={min_user} and dataset.min_item={min_item}; give lower numbers"
        )
    users, user_ids = _renumber(users[rows], user_ids)
    items, item_ids = _renumber(items[rows], item_ids)
    kept = pl.DataFrame({"user": users, "time": log["timestamp"].gather(rows), "item": items + 1})
    # Two stable sorts by one column each take half the time of one sort by both.
    in_order = kept.sort("time", maintain_order=True).sort("user", maintain_order=True)
    return Interactions(
        items=in_order["item"].to_numpy(writable=True),
        offsets=np.concatenate(([0], np.bincount(users).cumsum())),
        times=in_order["time"].to_numpy(writable=True),
        user_ids=user_ids,
        item_ids=item_ids,
    )


def statistics(interactions: Interactions) -> Statistics:
    """Return the dataset's row of the paper's Table 1."""
    rows, users, items = len(interactions.items), len(interactions.user_ids), len(interactions.item_ids)
    return Statistics(
        interactions=rows,
        users=users,
        items=items,
        mean_user_len=rows / users,
        mean_item_len=rows / items,
        sparsity=1 - rows / (users * items),
    )


def k_core(
    users: npt.NDArray[np.int32], items: npt.NDArray[np.int32], min_user: int, min_item: int
) -> npt.NDArray[np.int64]:
    """Remove users with too few rows and items with too few rows, until none is left; return the remaining rows.

    Args:
        users: the user of each row, numbered from 0.
        items: the item of each row, numbered from 0.
        min_user: the fewest rows of a user.
        min_item: the fewest rows of an item.
    """
    rows, user_counts, item_counts = np.arange(len(users)), np.bincount(users), np.bincount(items)
    while True:
        # The lookup for each row is in one byte per user and item. These fit into the cache, the counts would not.
        kept = (user_counts >= min_user)[users] & (item_counts >= min_item)[items]
        if kept.all():
            return rows
        user_counts -= np.bincount(users[~kept], minlength=len(user_counts))
        item_counts -= np.bincount(items[~kept], minlength=len(item_counts))
        rows, users, items = rows[kept], users[kept], items[kept]


def _encode(ids: pl.Series) -> tuple[npt.NDArray[np.int32], pl.Series]:
    """Return the number of each id, from 0 in order of first appearance, and the distinct ids in that order."""
    distinct = ids.to_frame("id").with_row_index("row").group_by("id", maintain_order=True).agg("row")
    numbers = np.empty(len(ids), np.int32)
    numbers[distinct["row"].explode(empty_as_null=False).to_numpy()] = np.repeat(
        np.arange(len(distinct), dtype=np.int32), distinct["row"].list.len().to_numpy()
    )
    return numbers, distinct["id"]


def _renumber(numbers: npt.NDArray[np.int32], ids: pl.Series) -> tuple[npt.NDArray[np.int32], pl.Series]:
    """Renumber from 0 in order of first appearance. Return the numbers and the remaining ids in that order."""
    first = np.full(len(ids), len(numbers))
    first[numbers[::-1]] = np.arange(len(numbers) - 1, -1, -1)  # the last value written is the first appearance
    order = np.argsort(first, kind="stable")[: np.count_nonzero(first < len(numbers))]
    new_numbers = np.zeros(len(ids), np.int32)
    new_numbers[order] = np.arange(len(order), dtype=np.int32)
    return new_numbers[numbers], ids.gather(order)
