"""The choice of a file's columns for the user, the item, the timestamp and the rating."""

import re
from pathlib import Path
from typing import NamedTuple, TypeAlias

from adamct.errors import InputError
from adamct.values import PositiveInt, Text

Column: TypeAlias = Text | PositiveInt | None


class Columns(NamedTuple):
    """The names of a file's columns, or their positions from 1 if it has no header; None means the usual names.

    A file with a configured separator is text with a row on each line, whatever its extension.
    """

    user: Column = None
    item: Column = None
    timestamp: Column = None
    rating: Column = None
    """Read only if there is a lowest rating."""
    separator: Text | None = None
    """The text between two columns, such as ``::``; None for that of the file's format. ``\\t`` is a tab."""


Fields: TypeAlias = dict[str, str | int | None]
"""The fields to read, with the name or position of each column; None means the usual names."""
_USUAL_NAMES = {
    "user": ("user", "user_id", "userId", "reviewerID"),
    "item": ("item", "item_id", "itemId", "movieId", "parent_asin", "asin"),
    "timestamp": ("timestamp", "time", "unixReviewTime"),
    "rating": ("rating", "overall", "stars"),
}
_PREFERRED = {"asin": "parent_asin"}
"""The name to prefer if a log has both: Amazon 2023 has an asin for each colour and size of an item."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_AMAZON_IDS = {"user": re.compile(r"A[0-9A-Z]{9,20}"), "item": re.compile(r"B[0-9A-Z]{9}|\d{9}[\dX]")}
_RECBOLE_TYPE = re.compile(r":(token|float)(_seq)?$")


def candidates(fields: Fields) -> dict[str, tuple[str, ...]]:
    """Return the names that each field's column may have."""
    return {field: _USUAL_NAMES[field] if name is None else (str(name),) for field, name in fields.items()}


def choose(path: Path, names: list[str], fields: Fields) -> dict[str, str]:
    """Map each field to the one column that has its configured name, or one of its usual names.

    Args:
        path: the file, for error messages.
        names: its columns. A name is repeated if several columns have it.
        fields: the fields to read.

    Raises:
        InputError: a field has no column or several columns, or two fields have the same column.
    """
    chosen: dict[str, str] = {}
    for field, possible in candidates(fields).items():
        matches = [name for name in names if name in possible]
        matches = [name for name in matches if _PREFERRED.get(name) not in matches]
        if len(matches) != 1:
            problem = f"several {field} columns {matches}" if matches else f"no {field} column {list(possible)}"
            raise InputError(f"{path}: {problem}; set dataset.columns.{field} to one of {names!r:.500}")
        (match,) = matches
        for other, name in chosen.items():
            if name == match:
                raise InputError(
                    f"{path}: {name!r} is both the {other} and the {field}; set dataset.columns.{field} to another"
                )
        chosen[field] = match
    return chosen


def amazon_ratings(head: list[tuple[str, ...]]) -> list[str] | None:
    """Return the column names of a file of Amazon's ratings; None for any other file.

    The two editions have users and items in different orders. The file is recognised if its first row ends with two
    numbers and the ids of a row show which column has the users.

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
    """Return whether a text is a number as in ratings and times: digits with an optional fraction."""
    return _NUMBER.fullmatch(text) is not None


def without_type(name: str) -> str:
    """Return a column's name without the type that RecBole adds to it."""
    return _RECBOLE_TYPE.sub("", name)
