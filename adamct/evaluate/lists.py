"""Files of recommendations, of any size, as a table of numbers.

The name of a file decides its format: ``.csv`` and ``.tsv`` with a header, ``.jsonl`` (also ``.ndjson`` and ``.json``)
with an object on each line, or ``.parquet``. Text files may be compressed (``.gz``, ``.zst``). A row is one of

- ``user, item, score``: a higher score is better. A rank beside the score is not read.
- ``user, item, rank``: a lower rank is better.
- ``user, items`` and perhaps ``scores``: a list, the best item first unless there are scores.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from adamct.errors import InputError, on_one_line, require

NAMES = {
    "user": ("user", "user_id"),
    "item": ("item", "item_id", "items"),
    "score": ("score", "scores"),
    "rank": ("rank",),
}
"""The names that the column of each field may have."""


class Lists(NamedTuple):
    """The recommendations of a file."""

    path: Path
    order: str
    """The field that orders a list: score, rank or place."""
    rows: pl.LazyFrame
    """``row``, the number in the file; ``user`` and ``item``, String; ``given``, the score or rank as it is in the
    file; ``value``, Float64: higher is better."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Re-raise an error of the reader as an `InputError` that names the file and, in JSON lines, the damaged line."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(
            f"{path}: cannot be read ({on_one_line(error):.200}){damaged_line(path)}; check or replace the file"
        ) from error


def damaged_line(path: Path) -> str:
    """Return the number of the first line that is not JSON, as text; empty if there is none or it is compressed."""
    if path.suffix.lower() not in SCANS or SCANS[path.suffix.lower()] is not scan_json_lines:
        return ""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                json.loads(line if line.strip() else "{}", parse_constant=refuse)
            except ValueError:
                return f", line {number}"
    return ""


def refuse(constant: str) -> None:
    """Refuse NaN and Infinity, which are not JSON.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{constant} is not JSON")


def read_lists(path: Path) -> Lists:
    """Recognise the columns of a file. Its rows are read later.

    Raises:
        InputError: the file does not exist, cannot be read, has an unknown format, or lacks a column.
    """
    require(path.is_file(), f"{path}: there is no such file; give a file of recommendations")
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".zst")]
    scan = SCANS.get(suffixes[-1] if suffixes else "")
    if scan is None:
        raise InputError(f"{path}: unknown extension; give {', '.join(SCANS)}")
    with reading(path):
        table = scan(path)
        schema = table.collect_schema()
    columns = {field: next((name for name in names if name in schema), None) for field, names in NAMES.items()}
    for field in ("user", "item"):
        if columns[field] is None:
            raise InputError(
                f"{path}: no column {' or '.join(NAMES[field])}; its columns are {schema.names()[1:]!r:.300}"
            )
    order = next((field for field in ("score", "rank") if columns[field] is not None), "place")
    fields = {field: pl.col(name) for field, name in columns.items() if name and field in ("user", "item", order)}
    table = table.select("row", **fields)
    if isinstance(table.collect_schema()["item"], pl.List):
        table = exploded(path, table, order)
    require(order in table.collect_schema(), f"{path}: no column score or rank, which order a list; add one of them")
    given = pl.col(order)
    value = given.cast(pl.Float64, strict=False)
    rows = table.filter(pl.any_horizontal(pl.col("user", "item", order).is_not_null()))  # a blank line is all null
    texts = (pl.col(name).cast(pl.String).replace("", None) for name in ("user", "item"))
    return Lists(path, order, rows.select("row", *texts, given=given, value=value if order == "score" else -value))


def exploded(path: Path, table: pl.LazyFrame, order: str) -> pl.LazyFrame:
    """Return a row for each item of the lists.

    Raises:
        InputError: a list has another number of scores than of items.
    """
    length = pl.col("item").list.len()
    table = table.filter(length > 0)  # a user with an empty list has no list
    if order == "place":
        return table.with_columns(place=pl.int_ranges(1, length + 1)).explode("item", "place")
    with reading(path):
        uneven = table.filter(pl.col(order).list.len().fill_null(0) != length).select("row").head(1).collect()
    require(uneven.is_empty(), f"{path}, row {uneven['row'].first()}: give as many {order}s as items")
    return table.explode("item", order)


def scan_delimited(path: Path, separator: str) -> pl.LazyFrame:
    """Scan delimited text as strings, with its rows numbered; the header is row 1."""
    return pl.scan_csv(path, separator=separator, infer_schema=False, glob=False).with_row_index("row", 2)


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Scan a Parquet file, with its rows numbered from 1."""
    return pl.scan_parquet(path, glob=False).with_row_index("row", 1)


def scan_json_lines(path: Path) -> pl.LazyFrame:
    """Scan the known keys of JSON lines as strings or lists of strings, with the numbers of the lines.

    Raises:
        InputError: the first line is not a JSON object.
    """
    lines = pl.scan_lines(path, name="line", glob=False, row_index_name="row", row_index_offset=1)
    lines = lines.filter(pl.col("line").str.contains(r"\S"))
    first: Any = None
    for line in lines.head(1).collect()["line"]:
        try:
            first = json.loads(line)
        except ValueError:
            continue
    if not isinstance(first, dict):
        raise InputError(f"{path}: the first line is not a JSON object; write one on each line")
    known = {name for names in NAMES.values() for name in names}
    types = {
        name: pl.List(pl.String) if isinstance(value, list) else pl.String()
        for name, value in first.items()
        if name in known
    }
    return lines.select("row", pl.col("line").str.json_decode(pl.Struct(types)).alias("object")).unnest("object")


SCANS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".csv": partial(scan_delimited, separator=","),
    ".tsv": partial(scan_delimited, separator="\t"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), scan_json_lines),
    ".parquet": scan_parquet,
}
