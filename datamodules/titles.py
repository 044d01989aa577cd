"""Titles of items from Amazon's metadata: an object a line, as JSON (2018, 2023) or as a Python literal (2014)."""

import ast
import gzip
import json
import re
import zlib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from adamct.errors import InputError, require

ID = re.compile(r"""asin["']\s*:\s*(["'])(.*?)\1""")
"""Finds what may be a line's item before a Python literal is parsed, which takes far longer than JSON."""


def read_titles(file: Path, item_ids: pl.Series) -> pl.Series:
    """Read the title of each item, null where the file has none; the last title of an item counts.

    Raises:
        InputError: the file cannot be read, or has a title for none of the items.
    """
    numbers = {name: number for number, name in enumerate(item_ids)}
    titles: list[str | None] = [None] * len(item_ids)
    try:
        opened = gzip.open if file.suffix.lower() == ".gz" else open
        with opened(file, "rt", encoding="utf-8-sig") as lines:
            for row, line in enumerate(lines, 1):
                described = parse(file, row, line, numbers)
                title = described.get("title")
                item = next((name for name in ids_of(described) if name in numbers), None)
                if item is not None and isinstance(title, str) and title:
                    # Half of a character that was cut in two has no place in a file.
                    titles[numbers[item]] = title.encode("utf-8", "replace").decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give Amazon's metadata of the category") from error
    require(any(titles), f"{file}: has a title for none of the items; is it of another category or edition?")
    return pl.Series("title", titles, dtype=pl.String)


def parse(file: Path, row: int, line: str, items: Container[str]) -> dict[str, Any]:
    """Return a line's object; a Python literal that names none of the items is not parsed and gives an empty one."""
    try:
        described = json.loads(line)
    except (ValueError, RecursionError):
        # An escaped character may be part of an item's id.
        if not any(name in items or "\\" in name for _, name in ID.findall(line)):
            return {}
        try:
            described = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise InputError(f"{file}, line {row}: neither a JSON object nor a Python literal") from error
    require(isinstance(described, dict), f"{file}, line {row}: must be an object with an asin and a title")
    return described


def ids_of(described: Mapping[str, Any]) -> list[str]:
    """Return the item that a line describes by its own keys, whatever other items it mentions."""
    return [described[key] for key in ("parent_asin", "asin") if isinstance(described.get(key), str)]
