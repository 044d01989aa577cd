"""From a log of interactions to one item sequence per user: k-core, time order, dense ids. Pure functions.

A log is a frame as ``read_log`` gives it: ``user``, ``item`` (String), ``timestamp`` (a number), in file order. A
repeated pair of user and item is an interaction each time.
"""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from adamct.batch import Statistics
from adamct.errors import InputError

Repeats = Literal["all", "first", "last", "consecutive"]


class Interactions(NamedTuple):
    """The sequences of U users over V items, end to end, each in time order."""

    items: npt.NDArray[np.int32]
    """Item ids from 1 to V (0 is left for padding), all users concatenated."""
    offsets: npt.NDArray[np.int64]
    """U + 1 positions: the sequence of user u is ``items[offsets[u]:offsets[u + 1]]``."""
    times: npt.NDArray[np.number]
    """When each of them was, in the log's unit."""
    user_ids: pl.Series
    """Original ids: position u for user u."""
    item_ids: pl.Series
    """Original ids: position i - 1 for item i."""


def without_repeats(log: pl.DataFrame, repeats: Repeats) -> pl.DataFrame:
    """Decide what becomes of a user's further interactions with the same item, in file order.

    Args:
        log: a log.
        repeats: ``all`` keeps them; ``first`` and ``last`` keep one of each pair, by time and then place in the file;
            ``consecutive`` leaves out those that follow the same item directly.

    """
    if repeats == "all":
        return log
    in_time = log.with_row_index("place").sort("user", "timestamp", maintain_order=True)
    if repeats == "consecutive":
        kept = in_time.filter((pl.col("item") != pl.col("item").shift(1).over("user")).fill_null(True))
    else:
        kept = in_time.unique(["user", "item"], keep="first" if repeats == "first" else "last", maintain_order=True)
    return kept.sort("place").drop("place")


def build_sequences(log: pl.DataFrame, min_user: int, min_item: int) -> Interactions:
    """Filter a log by its k-core, number users and items, and line up each user's items in time order.

    Numbers are given in the order of first appearance among the rows that the k-core keeps. Rows of a user with equal
    timestamps stay in file order.

    Raises:
        InputError: the k-core is empty.
    """
    users, user_ids = _encode(log["user"])
    items, item_ids = _encode(log["item"])
    rows = k_core(users, items, min_user, min_item)
    if not len(rows):
        raise InputError(
            f"nothing is left of {log.height} rows, {log['user'].n_unique()} users and {log['item'].n_unique()} items"
            f" with dataset.min_user={min_user} and dataset.min_item={min_item}; lower them"
        )
    users, user_ids = _renumber(users[rows], user_ids)
    items, item_ids = _renumber(items[rows], item_ids)
    kept = pl.DataFrame({"user": users, "time": log["timestamp"].gather(rows), "item": items + 1})
    # Two stable sorts by one column each take half the time of one by both.
    in_order = kept.sort("time", maintain_order=True).sort("user", maintain_order=True)
    return Interactions(
        items=in_order["item"].to_numpy(writable=True),
        offsets=np.concatenate(([0], np.bincount(users).cumsum())),
        times=in_order["time"].to_numpy(writable=True),
        user_ids=user_ids,
        item_ids=item_ids,
    )


def statistics(interactions: Interactions) -> Statistics:
    """Count what Table 1 of the paper counts."""
    rows, users, items = len(interactions.items), len(interactions.user_ids), len(interactions.item_ids)
    return Statistics(rows, users, items, rows / users, rows / items, 1 - rows / (users * items))


def k_core(
    users: npt.NDArray[np.int32], items: npt.NDArray[np.int32], min_user: int, min_item: int
) -> npt.NDArray[np.int64]:
    """The rows that stay when users with fewer than min_user and items with fewer than min_item go until none is left.

    Args:
        users: of each row, numbered from 0.
        items: likewise.
        min_user: rows a user must have, ...
        min_item: ... and an item.
    """
    rows, of_user, of_item = np.arange(len(users)), np.bincount(users), np.bincount(items)
    while True:
        # A byte of each user and item is looked up for each row: such bytes stay in the cache where counts would not.
        stay = (of_user >= min_user)[users] & (of_item >= min_item)[items]
        if stay.all():
            return rows
        of_user -= np.bincount(users[~stay], minlength=len(of_user))
        of_item -= np.bincount(items[~stay], minlength=len(of_item))
        rows, users, items = rows[stay], users[stay], items[stay]


def _encode(ids: pl.Series) -> tuple[npt.NDArray[np.int32], pl.Series]:
    """Number the ids from 0 in order of first appearance; give the numbers and the distinct ids in that order."""
    distinct = ids.to_frame("id").with_row_index("row").group_by("id", maintain_order=True).agg("row")
    numbers = np.empty(len(ids), np.int32)
    numbers[distinct["row"].explode(empty_as_null=False).to_numpy()] = np.repeat(
        np.arange(len(distinct), dtype=np.int32), distinct["row"].list.len().to_numpy()
    )
    return numbers, distinct["id"]


def _renumber(numbers: npt.NDArray[np.int32], ids: pl.Series) -> tuple[npt.NDArray[np.int32], pl.Series]:
    """Number what is left anew, in order of first appearance, and give the ids in that order."""
    first = np.full(len(ids), len(numbers))
    first[numbers[::-1]] = np.arange(len(numbers) - 1, -1, -1)  # the last that is written is the first appearance
    order = np.argsort(first, kind="stable")[: np.count_nonzero(first < len(numbers))]
    anew = np.zeros(len(ids), np.int32)
    anew[order] = np.arange(len(order), dtype=np.int32)
    return anew[numbers], ids.gather(order)
