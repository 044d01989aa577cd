"""Item titles from Amazon's metadata: one object a line, as JSON (2018, 2023) or as a Python literal (2014)."""

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
"""Matches the ids in a line, so that few Python literals must be parsed, which takes far longer than JSON."""


def read_titles(file: Path, item_ids: pl.Series) -> pl.Series:
    """Read the title of each item: its last title in the file, or null if it has none.

    Raises:
        InputError: the file cannot be read, or has no title of any of the items.
    """
    numbers = {name: number for number, name in enumerate(item_ids)}
    titles: list[str | None] = [None] * len(item_ids)
    try:
        open_text = gzip.open if file.suffix.lower() == ".gz" else open
        with open_text(file, "rt", encoding="utf-8-sig") as lines:
            for row, line in enumerate(lines, 1):
                content = parse(file, row, line, numbers)
                title = content.get("title")
                item = next((name for name in ids_of(content) if name in numbers), None)
                if item is not None and isinstance(title, str) and title:
                    # Half of a surrogate pair cannot be encoded in UTF-8.
                    titles[numbers[item]] = title.encode("utf-8", "replace").decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give Amazon's metadata of the category") from error
    require(any(titles), f"{file}: has no title of any of the items; give the metadata of their category and edition")
    return pl.Series("title", titles, dtype=pl.String)


def parse(file: Path, row: int, line: str, items: Container[str]) -> dict[str, Any]:
    """Return a line's object; an empty one for a Python literal without any of the items, which is not parsed."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        # An escaped character may be part of an item's id.
        if not any(name in items or "\\" in name for _, name in ID.findall(line)):
            return {}
        try:
            content = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise InputError(f"{file}, line {row}: must be a JSON object or a Python literal") from error
    require(isinstance(content, dict), f"{file}, line {row}: must be an object with an asin and a title")
    return content


def ids_of(content: Mapping[str, Any]) -> list[str]:
    """Return the ids of the item that an object describes, not those of other items in it."""
    return [content[key] for key in ("parent_asin", "asin") if isinstance(content.get(key), str)]
