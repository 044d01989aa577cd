"""Titles of items from Amazon's metadata: an object a line, as JSON (2018, 2023) or as a Python literal (2014)."""

import ast
import gzip
import json
import re
import zlib
from pathlib import Path
from typing import Any

import polars as pl

from adamct.errors import InputError, require

ID = re.compile(r"""["'](?:parent_)?asin["']: ?["']([^"']+)["']""")
"""Finds a line's item before the line is parsed, which takes far longer."""


def read_titles(file: Path, item_ids: pl.Series) -> pl.Series:
    """The title of each item, null where the file has none.

    Raises:
        InputError: the file cannot be read, or has a title for none of the items.
    """
    numbers = {name: number for number, name in enumerate(item_ids)}
    titles: list[str | None] = [None] * len(item_ids)
    try:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
            for row, line in enumerate(lines, 1):
                found = [name for name in ID.findall(line) if name in numbers]
                if found:
                    title = parse(file, row, line).get("title")
                    titles[numbers[found[0]]] = title or None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give Amazon's metadata of the category") from error
    require(any(titles), f"{file}: has a title for none of the items; is it of another category or edition?")
    return pl.Series("title", titles, dtype=pl.String)


def parse(file: Path, row: int, line: str) -> dict[str, Any]:
    """A line's object."""
    try:
        return json.loads(line)
    except ValueError:
        try:
            return ast.literal_eval(line)
        except (ValueError, SyntaxError) as error:
            raise InputError(f"{file}, line {row}: neither a JSON object nor a Python literal") from error
