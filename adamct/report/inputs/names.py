"""Names that users choose, such as labels: as text on one line, told apart, and as names of files."""

import json
import re
from collections.abc import Iterable
from itertools import chain, count
from typing import Any

LONGEST = 120
"""Characters of a name; a longer one would make a figure too wide to be saved."""


def as_text(value: Any) -> str:
    """Return a config value as one would give it on the command line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def printable(text: str) -> str:
    """Return a text on one line, with a space in place of what cannot be printed."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def shortened(name: str) -> str:
    """Return a name of at most `LONGEST` characters."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def label_of(value: Any) -> str | None:
    """Return the text of a ``label`` in a config; None where it names nothing."""
    return None if value is None else printable(as_text(value)) or None


def numbered(names: Iterable[str], form: str = "{} ({})") -> list[str]:
    """Return different names: those that are there before get a number by the form."""
    taken: list[str] = []
    for name in names:
        candidates = chain([name], (form.format(name, number) for number in count(2)))
        taken.append(next(candidate for candidate in candidates if candidate not in taken))
    return taken


def file_names(names: Iterable[str]) -> list[str]:
    """Return a different name for each, of characters and a length that names of files may have anywhere."""
    return numbered((re.sub(r"[^\w.@=,+-]+", "_", name, flags=re.ASCII)[:LONGEST] for name in names), "{}_{}")
