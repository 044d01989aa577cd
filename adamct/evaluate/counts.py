"""The counts of a file of recommendations, as lines to print and as a part of the record."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from adamct.evaluate.known import Ranking
from adamct.evaluate.numbered import NumberedLists, Unknown
from adamct.evaluate.ranks import Dropped, ListRanks, TestItems


class Counted(NamedTuple):
    """The counts of a file; see `adamct.evaluate.numbered` and `adamct.evaluate.ranks` for their meaning."""

    order: str
    """The field that orders a list."""
    rows: int
    shortest: int
    """The number of items in the shortest list, after all rows that are left out."""
    longest: int
    tested: int
    """The number of users with a test item."""
    without_list: int
    """The number of these users that have no list."""
    first_without_list: str | None
    with_seen: int
    """The number of lists with an item that their user has had."""
    unknown_users: Unknown
    unknown_items: Unknown
    dropped: Dropped


def count(
    order: str,
    numbered: NumberedLists,
    dropped: Dropped,
    items: TestItems,
    ranks: ListRanks,
    user_ids: Sequence[str],
) -> Counted:
    """Count what a file has and what is left out."""
    listed = ranks.length > 0
    missing = items.user[~listed]
    return Counted(
        order=order,
        rows=numbered.rows,
        shortest=int(ranks.length[listed].min(initial=numbered.rows)) if listed.any() else 0,
        longest=int(ranks.length.max()),
        tested=len(listed),
        without_list=len(missing),
        first_without_list=user_ids[int(missing[0])] if len(missing) else None,
        with_seen=int(np.count_nonzero(ranks.seen)),
        unknown_users=numbered.unknown_users,
        unknown_items=numbered.unknown_items,
        dropped=dropped,
    )


def lines(counted: Counted, rankings: Sequence[Ranking]) -> Iterator[str]:
    """Yield a line for each count that is not 0, and one for each ranking."""
    lists = counted.tested - counted.without_list
    lengths = " to ".join(f"{length:,}" for length in dict.fromkeys((counted.shortest, counted.longest)))
    yield f"{counted.rows:,} rows, ordered by {counted.order}: lists of {lengths} items for {lists:,} users"
    if counted.without_list:
        first = counted.first_without_list
        yield f"users without a list, each a miss: {counted.without_list:,} of {counted.tested:,}, the first {first!r}"
    for kind, (ids, rows, first) in (("users", counted.unknown_users), ("items", counted.unknown_items)):
        if ids:
            yield f"left out: {rows:,} rows of {ids:,} {kind} that the prepared log does not have, the first {first!r}"
    for rows, kind in zip(counted.dropped, REASONS, strict=True):
        if rows:
            yield f"left out: {rows:,} rows {kind}"
    yield f"lists with an item that their user has had: {counted.with_seen:,} of {lists:,}"
    for ranking in rankings:
        yield f"{ranking.name}: {extent(ranking)}"


REASONS = (
    "that repeat an item of their user; its best place stays",
    "with a score of minus infinity",
    "of users without a test item",
)
"""The reasons of `Dropped`."""


def extent(ranking: Ranking) -> str:
    """Describe which metrics of a ranking are known."""
    if ranking.unknown is not None:
        return f"unknown, because {ranking.unknown}"
    if ranking.depth == math.inf:
        return "all metrics"
    return f"metrics up to k={ranking.depth:.0f}, the length of the shortest list without its test item"


def recorded(counted: Counted, rankings: Sequence[Ranking]) -> dict[str, Any]:
    """Return the counts as JSON types, by name."""
    nested = {
        name: value._asdict() if isinstance(value, Unknown | Dropped) else value
        for name, value in counted._asdict().items()
    }
    extents = {
        ranking.name: {
            "largest_k": None if ranking.unknown or ranking.depth == math.inf else int(ranking.depth),
            "unknown": ranking.unknown,
        }
        for ranking in rankings
    }
    return {**nested, "rankings": extents}
