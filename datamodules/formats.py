"""The file formats of a log. Each reader returns a table whose values are not checked.

The name of a file decides its format:

- ``.txt``: a sequence file. Each line is ``user item item ...``, separated by whitespace, oldest item first.
- ``.csv``, ``.tsv``: a header, then one row for each interaction. Files whose columns are configured as positions have
  no header, and neither have Amazon's ratings: 2014 (user, item, rating, timestamp) and 2018 (item, user, rating,
  timestamp). These are recognised by a first row that ends with two numbers, and by Amazon's ids in one of the rows.
- ``.inter``: RecBole's tab-separated file. The header field ``user_id:token`` names the column ``user_id``.
- ``.jsonl``, ``.ndjson``, ``.json``: JSON lines, an object for each interaction (Amazon 2014: ``reviews_*_5.json.gz``).
- ``.parquet``.

A file with a configured separator is read as ``.csv``. One longer than a byte allows no quotation marks.

All formats but Parquet may be compressed, with an additional ``.gz`` or ``.zst``.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import polars as pl

from adamct.errors import InputError
from datamodules.columns import Fields, amazon_ratings, candidates, choose, is_number, without_type
from datamodules.damage import (
    Check,
    check_objects,
    check_quotation,
    check_records,
    check_sequences,
    explain,
    parse_object,
)
from datamodules.separators import has_quotes, require_columns, scan_rows


class Table(NamedTuple):
    """The interactions of one file, with the values as they are in the file."""

    names: dict[str, str]
    """The column of each field."""
    clock: str
    """The kind of timestamps, in words. Only timestamps of the same kind can be sorted together."""
    rows: pl.DataFrame
    """``row``, the number in the file from 1; ``user`` and ``item``, String; ``timestamp``, unless the clock is
    `ORDER`; ``rating``, if it is read. Timestamps and ratings are String or of the file's type."""


ORDER = "the order of a user's items but not their times"
"""The clock of a sequence file."""
_NUL = "an id holds a NUL character"
_NUMBERS = "times that are numbers"
_MAGIC = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd", ".parquet": b"PAR1"}
_HEAD = 100
"""The rows at the beginning of a file that its columns are recognised by."""


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading; raise an InputError if that is impossible."""
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: the path holds a NUL character
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: {reason}; give the path of a file you may read") from error


def read_table(path: Path, fields: Fields, separator: str | None = None) -> Table:
    """Read fields of a file.

    Args:
        path: the file.
        fields: the fields to read.
        separator: the text between two columns; None for that of the file's format.

    Raises:
        InputError: the file cannot be opened, does not have the format of its name, is damaged, or has no column for a
            field.
    """
    with open_binary(path) as file:
        head = file.read(4)
    file_format = _format(path) if separator is None else _delimited(separator.replace("\\t", "\t"))
    if head and not head.startswith(_MAGIC.get(path.suffix.lower(), b"")):
        raise InputError(f"{path}: its content is not what {path.suffix} says; rename or replace the file")
    try:
        table = file_format.read(path, fields) if head else None
    except pl.exceptions.NoDataError:
        table = None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise InputError(explain(path, file_format.check, set().union(*candidates(fields).values()), error)) from error
    if table is None or table.rows.is_empty():
        raise InputError(f"{path}: empty, or nothing below its header; give a file with interactions")
    return table


def is_sequence_file(path: Path, separator: str | None) -> bool:
    """Return whether a file, with a separator if one is configured, has the order of a user's items but no times."""
    return separator is None and _format(path).read is _read_sequences


class _Format(NamedTuple):
    read: Callable[[Path, Fields], Table]
    """Reads a file; raises ValueError or an error of polars if its content is damaged."""
    check: Check | None
    """Finds the damaged line; None for a format without lines."""


def _read_sequences(path: Path, fields: Fields) -> Table:
    if "rating" in fields:
        raise InputError(f"{path}: a .txt file is a sequence file, without ratings; set dataset.min_rating to null")
    if any(fields.values()):
        raise InputError(f"{path}: a .txt file is a sequence file, without columns; set dataset.columns.* to null")
    words = pl.col("line").str.extract_all(r"\S+")
    # A carriage return alone, which may be the line end of an old Mac, is whitespace for \S+.
    damaged = pl.col("line").str.contains(r"\x00|\r\s*\S")
    histories = _lines(path).select("row", user=words.list.first(), item=words.list.slice(1), damaged=damaged)
    # A user without items becomes a row without an item, which is reported.
    rows = histories.explode("item", empty_as_null=True).collect(engine="streaming")
    if rows["damaged"].any():
        raise ValueError("a NUL or a carriage return within a line")
    return Table({"user": "user", "item": "item"}, ORDER, rows.drop("damaged"))


def _read_delimited(path: Path, fields: Fields, separator: str) -> Table:
    head = scan_rows(path, separator, _HEAD).collect(engine="streaming").fill_null("").rows()
    if not head or any(re.search("[\0\r\ufffd]", name) for name in head[0]):
        raise ValueError("the first row is damaged")
    if not any(map(any, head)):
        raise pl.exceptions.NoDataError
    if any(isinstance(name, int) for name in fields.values()):
        header, first = list(map(str, range(1, len(head[0]) + 1))), 1
    elif columns := amazon_ratings(head):
        header, first = columns, 1
    else:
        header, first = [without_type(name) for name in head[0]], 2
    try:
        names = choose(path, header, fields)
    except InputError as error:
        raise InputError(f"{error}, or each column to its position from 1 if the file has no header") from error
    table = scan_rows(path, separator).select(pl.nth(header.index(name)).alias(field) for field, name in names.items())
    filled = pl.any_horizontal(pl.all().is_not_null()).cum_max(reverse=True)  # blank lines at the end are read as nulls
    rows = table.filter(filled).with_row_index("row", 1).collect(engine="streaming")
    if not has_quotes(separator):
        require_columns(path, separator)
        return Table(names, _NUMBERS, rows[first - 1 :])
    unread = [column for column, name in enumerate(header) if name not in names.values()]
    if not all(is_number(row[column]) for row in head[first - 1 :] for column in unread) or _ids_hold(rows, '[\0\n"]'):
        if _ids_hold(rows, "\0"):
            raise ValueError(_NUL)
        check_quotation(path, separator)  # only texts have quotation marks, so files of ratings skip the check
    return Table(names, _NUMBERS, rows[first - 1 :])


def _read_json_lines(path: Path, fields: Fields) -> Table:
    lines, keys = _lines(path), Counter[str]()
    for line in lines.head(_HEAD).collect(engine="streaming")["line"]:
        keys |= Counter(key for key, _ in parse_object(line))
    if not keys:
        raise pl.exceptions.NoDataError
    names = choose(path, list(keys.elements()), fields)
    texts = pl.Struct(dict.fromkeys(names.values(), pl.String))  # no other values are built, and numbers become text

    def decode(text: pl.Expr) -> pl.DataFrame:
        objects = lines.select("row", object=text.str.json_decode(texts))
        values = {field: pl.col("object").struct.field(name) for field, name in names.items()}
        return objects.select("row", **values).collect(engine="streaming")

    rows = decode(pl.col("line"))
    if _ids_hold(rows, "\0"):
        raise ValueError(_NUL)
    # A number with a fraction or an exponent was read as a float. If it may have lost digits, read its text instead.
    rounded = {field: _may_be_rounded(rows[field]) for field in names}
    if any(series.any() for series in rounded.values()):
        keys_pattern = "|".join(re.escape(json.dumps(name, ensure_ascii=False)) for name in names.values())
        fraction = rf"((?:{keys_pattern})\s*:\s*)(-?\d+[.eE][\d.eE+-]*)"
        written = decode(pl.col("line").str.replace_all(fraction, '${1}"${2}"'))
        rows = rows.with_columns(
            pl.when(mask).then(written[field]).otherwise(field).alias(field) for field, mask in rounded.items()
        )
    return Table(names, _NUMBERS, rows)


def _may_be_rounded(numbers: pl.Series) -> pl.Series:
    long = (numbers.str.len_bytes() > 15) & (numbers < ":")  # digits, a sign and a point sort before a colon
    return long & numbers.str.contains(r"^-?\d[\d.e-]+$") if long.any() else long


def _read_parquet(path: Path, fields: Fields) -> Table:
    scan = pl.scan_parquet(path, glob=False)
    columns = scan.collect_schema().to_frame()
    names = choose(path, columns.columns, fields)
    for field, name in names.items():
        if not _fits(columns[name], field):
            dtype = columns[name].dtype
            raise InputError(
                f"{path}: column {name!r} is {dtype}; set dataset.columns.{field} to another, or convert it"
            )
    rows = scan.select(**names).cast({"user": pl.String, "item": pl.String}).with_row_index("row", 1)
    return Table(names, _clock(columns[names["timestamp"]]), rows.collect(engine="streaming"))


def _fits(column: pl.Series, field: str) -> bool:
    """Return whether a column's type fits a field. A float is not an id: it may be NaN or rounded, and 1.0 is not 1."""
    dtype = column.dtype
    if isinstance(dtype, pl.String | pl.Null) or dtype.is_integer():
        return True
    if field in ("user", "item"):
        whole = isinstance(dtype, pl.Decimal) and dtype.scale == 0
        return whole or isinstance(dtype, pl.Categorical | pl.Enum | pl.Binary)
    return dtype.is_numeric() or (field == "timestamp" and isinstance(dtype, pl.Date | pl.Datetime | pl.Duration))


def _clock(column: pl.Series) -> str:
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        return f"datetimes in {dtype.time_unit} {'without' if dtype.time_zone is None else 'with'} a time zone"
    return f"times of type {dtype}" if dtype.is_temporal() else _NUMBERS


def _delimited(separator: str) -> _Format:
    check = partial(check_records, separator=separator) if has_quotes(separator) else None
    return _Format(partial(_read_delimited, separator=separator), check)


_TEXT_FORMATS: dict[str, _Format] = {
    ".txt": _Format(_read_sequences, check_sequences),
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".inter": _delimited("\t"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), _Format(_read_json_lines, check_objects)),
}
_FORMATS = {
    extension + packed: file_format
    for extension, file_format in _TEXT_FORMATS.items()
    for packed in ("", ".gz", ".zst")
}
_FORMATS[".parquet"] = _Format(_read_parquet, None)


def _format(path: Path) -> _Format:
    for extension, file_format in _FORMATS.items():
        if path.name.lower().endswith(extension):
            return file_format
    extensions = " ".join(_TEXT_FORMATS)
    raise InputError(f"{path}: unknown extension; give {extensions} (all also with .gz or .zst) or .parquet")


def _lines(path: Path) -> pl.LazyFrame:
    """Return a lazy scan of the lines that are not blank, with their numbers as ``row``."""
    lines = pl.scan_lines(path, name="line", glob=False, row_index_name="row", row_index_offset=1)
    return lines.with_columns(pl.col("line").str.strip_prefix("\ufeff")).filter(pl.col("line").str.contains(r"\S"))


def _ids_hold(rows: pl.DataFrame, pattern: str) -> bool:
    return any(rows[field].str.contains(pattern).any() for field in ("user", "item"))
