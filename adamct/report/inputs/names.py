"""Names that users choose, such as labels: on one line, distinct, and as file names."""

import json
import re
from collections.abc import Iterable
from itertools import chain, count
from typing import Any

LONGEST = 120
"""The longest name in characters. A figure with a longer one would be too wide to save."""


def as_text(value: Any) -> str:
    """Return a config value as it is written on the command line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def printable(text: str) -> str:
    """Return a text on one line, with a space in place of each character that cannot be printed."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def shortened(name: str) -> str:
    """Return a name of at most `LONGEST` characters."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def label_of(value: Any) -> str | None:
    """Return the text of a config's ``label``; None if it is null or blank."""
    return None if value is None else printable(as_text(value)) or None


def numbered(names: Iterable[str], form: str = "{} ({})") -> list[str]:
    """Return distinct names: repeated ones get a number, written as ``form`` says."""
    distinct: list[str] = []
    for name in names:
        candidates = chain([name], (form.format(name, number) for number in count(2)))
        distinct.append(next(candidate for candidate in candidates if candidate not in distinct))
    return distinct


def file_names(names: Iterable[str]) -> list[str]:
    """Return a distinct file name for each name, with characters and a length that every file system allows."""
    return numbered((re.sub(r"[^\w.@=,+-]+", "_", name, flags=re.ASCII)[:LONGEST] for name in names), "{}_{}")
