"""Which column of a file is the user, the item, the timestamp and the rating."""

import re
from pathlib import Path
from typing import NamedTuple, TypeAlias

from adamct.errors import InputError
from adamct.values import PositiveInt, Text

Column: TypeAlias = Text | PositiveInt | None


class Columns(NamedTuple):
    """The names of the columns in a file, or in one without a header their positions from 1; None tries the usual."""

    user: Column = None
    item: Column = None
    timestamp: Column = None
    rating: Column = None
    """Only looked for where ratings matter."""


Fields: TypeAlias = dict[str, str | int | None]
"""The fields that are read, and the names or positions of their columns where these are given."""
_USUAL_NAMES = {
    "user": ("user", "user_id", "userId", "reviewerID"),
    "item": ("item", "item_id", "itemId", "movieId", "parent_asin", "asin"),
    "timestamp": ("timestamp", "time", "unixReviewTime"),
    "rating": ("rating", "overall", "stars"),
}
_INSTEAD = {"asin": "parent_asin"}
"""Where a log has both names the second is meant: Amazon 2023 has an asin for each colour and size of an item."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_AMAZON_IDS = {"user": re.compile(r"A[0-9A-Z]{9,20}"), "item": re.compile(r"B[0-9A-Z]{9}|\d{9}[\dX]")}
_RECBOLE_TYPE = re.compile(r":(token|float)(_seq)?$")


def candidates(fields: Fields) -> dict[str, tuple[str, ...]]:
    """List the names that each field's column may have."""
    return {field: _USUAL_NAMES[field] if name is None else (str(name),) for field, name in fields.items()}


def choose(path: Path, names: list[str], fields: Fields) -> dict[str, str]:
    """Map each field to the one column that has its configured name, or one of its usual names.

    Args:
        path: the file, to be named in errors.
        names: its columns; a name is repeated if several columns have it.
        fields: the fields that are read.

    Raises:
        InputError: a field has no column or several, or two fields have the same.
    """
    chosen: dict[str, str] = {}
    for field, possible in candidates(fields).items():
        found = [name for name in names if name in possible]
        found = [name for name in found if _INSTEAD.get(name) not in found]
        if len(found) != 1:
            problem = f"several {field} columns {found}" if found else f"no {field} column {list(possible)}"
            raise InputError(f"{path}: {problem}; set dataset.columns.{field} to one of {names!r:.500}")
        for other, same in chosen.items():
            if same == found[0]:
                raise InputError(
                    f"{path}: {same!r} is both the {other} and the {field}; set dataset.columns.{field} to another"
                )
        chosen[field] = found[0]
    return chosen


def amazon_ratings(head: list[tuple[str, ...]]) -> list[str] | None:
    """Name the columns of Amazon's ratings, if a file is one; None for any other.

    The first row must end with two numbers, and the ids of some row must tell users from items: the two editions have
    them in different orders.

    Args:
        head: the first rows of the file.
    """
    if len(head[0]) != 4 or not all(map(is_number, head[0][2:])):
        return None
    orders = [
        order
        for order in (["user", "item"], ["item", "user"])
        if any(all(_AMAZON_IDS[field].fullmatch(id) for field, id in zip(order, row, strict=False)) for row in head)
    ]
    return [*orders[0], "rating", "timestamp"] if len(orders) == 1 else None


def is_number(text: str) -> bool:
    """Return whether a text is a number, in the way that ratings and times are written."""
    return _NUMBER.fullmatch(text) is not None


def without_type(name: str) -> str:
    """Remove the type that RecBole writes after a column's name."""
    return _RECBOLE_TYPE.sub("", name)
