"""From a log of interactions to one item sequence per user: k-core, time order, dense ids. Pure functions.

A log is a frame as ``read_log`` gives it: ``user``, ``item`` (String), ``timestamp`` (a number), in file order. A
repeated pair of user and item is an interaction each time.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from adamct.batch import Statistics
from adamct.errors import InputError, require


class Interactions(NamedTuple):
    """The sequences of U users over V items, end to end, each in time order."""

    items: npt.NDArray[np.int32]
    """Item ids from 1 to V (0 is left for padding), all users concatenated."""
    offsets: npt.NDArray[np.int64]
    """U + 1 positions: the sequence of user u is ``items[offsets[u]:offsets[u + 1]]``."""
    user_ids: pl.Series
    """Original ids: position u for user u."""
    item_ids: pl.Series
    """Original ids: position i - 1 for item i."""


def k_core(log: pl.DataFrame, min_user: int, min_item: int) -> pl.DataFrame:
    """Drop users with fewer than min_user rows and items with fewer than min_item until none is left, in file order."""
    return log[_core_rows(_encode(log["user"])[0], _encode(log["item"])[0], min_user, min_item)]


def without_repeats(log: pl.DataFrame, repeats: str) -> pl.DataFrame:
    """Decide what becomes of a user's further interactions with the same item, in file order.

    Args:
        log: a log.
        repeats: ``all`` keeps them; ``first`` and ``last`` keep one of each pair, by time and then place in the file;
            ``consecutive`` leaves out those that follow the same item directly.

    Raises:
        InputError: for anything else.
    """
    known = ("all", "first", "last", "consecutive")
    require(repeats in known, f"dataset.repeats={repeats}: must be one of {', '.join(known)}")
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
        InputError: the k-core is empty, or leaves a user fewer than the 3 interactions that leave-one-out needs.
    """
    users, user_ids = _encode(log["user"])
    items, item_ids = _encode(log["item"])
    rows = _core_rows(users, items, min_user, min_item)
    if not len(rows):
        raise InputError(
            f"nothing is left of {log.height} rows, {log['user'].n_unique()} users and {log['item'].n_unique()} items"
            f" with dataset.min_user={min_user} and dataset.min_item={min_item}; lower them"
        )
    users, user_ids = _renumber(users[rows], user_ids)
    items, item_ids = _renumber(items[rows], item_ids)
    lengths = np.bincount(users)
    if lengths.min() < 3:
        user = int(lengths.argmin())
        raise InputError(
            f"user {user_ids[user]!r} has {lengths[user]} interactions, leave-one-out needs 3;"
            f" raise dataset.min_user from {min_user} to 3 or more"
        )
    time_order = np.lexsort((log["timestamp"].to_numpy()[rows], users))  # stable
    return Interactions(
        items=items[time_order] + 1,
        offsets=np.concatenate(([0], lengths.cumsum())),
        user_ids=user_ids,
        item_ids=item_ids,
    )


def statistics(interactions: Interactions) -> Statistics:
    """Count what Table 1 of the paper counts."""
    rows, users, items = len(interactions.items), len(interactions.user_ids), len(interactions.item_ids)
    return Statistics(rows, users, items, rows / users, rows / items, 1 - rows / (users * items))


def _encode(ids: pl.Series) -> tuple[npt.NDArray[np.int32], pl.Series]:
    """Number the ids from 0 in order of first appearance; give the numbers and the distinct ids in that order."""
    distinct = ids.unique(maintain_order=True)
    numbers = ids.cast(pl.Enum(distinct)).to_physical()  # as narrow as their count allows
    return numbers.cast(pl.Int32).to_numpy(), distinct


def _core_rows(
    users: npt.NDArray[np.int32], items: npt.NDArray[np.int32], min_user: int, min_item: int
) -> npt.NDArray[np.int64]:
    """The rows of the k-core, by the numbers of their users and items."""
    rows = np.arange(len(users))
    while True:
        user, item = users[rows], items[rows]
        enough = (np.bincount(user)[user] >= min_user) & (np.bincount(item)[item] >= min_item)
        if enough.all():
            return rows
        rows = rows[enough]


def _renumber(numbers: npt.NDArray[np.int32], ids: pl.Series) -> tuple[npt.NDArray[np.int32], pl.Series]:
    """Number what is left anew, in order of first appearance, and give the ids in that order."""
    first = np.full(len(ids), len(numbers))
    first[numbers[::-1]] = np.arange(len(numbers) - 1, -1, -1)  # the last that is written is the first appearance
    order = np.argsort(first, kind="stable")[: np.count_nonzero(first < len(numbers))]
    anew = np.zeros(len(ids), np.int32)
    anew[order] = np.arange(len(order), dtype=np.int32)
    return anew[numbers], ids.gather(order)
