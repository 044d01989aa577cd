"""Read any supported log of interactions into one frame: user, item, timestamp.

The file name decides how a file is read:

- ``.txt``: a sequence file, ``user item item ...`` a line, separated by whitespace, oldest item first.
- ``.csv``, ``.tsv``: a header, then a row an interaction. Where columns are given as positions there is no header, nor
  in Amazon's ratings: those of 2014 (user, item, rating, timestamp) and of 2018 (item, user, rating, timestamp) are
  known by a first row of two such ids and two numbers, or by two numbers and a name ``ratings_*``.
- ``.inter``: RecBole's tab-separated file; a header field ``user_id:token`` names the column ``user_id``.
- ``.jsonl``, ``.ndjson``, ``.json``: JSON lines, an object an interaction (Amazon 2014: ``reviews_*_5.json.gz``).
- ``.parquet``.

All but Parquet may be compressed, with a further ``.gz`` or ``.zst``.
"""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

import polars as pl

from adamct.errors import InputError, require
from adamct.values import PositiveInt, Text

Column: TypeAlias = Text | PositiveInt | None


class Columns(NamedTuple):
    """The names of the columns in a file, or in one without a header their positions from 1; None tries the usual."""

    user: Column = None
    item: Column = None
    timestamp: Column = None
    rating: Column = None
    """Only looked for where ratings matter."""


_Fields: TypeAlias = dict[str, str | int | None]
"""The fields that are read, and their names where they were given."""
_BY_USUAL_NAMES = Columns()
_USUAL_NAMES = {
    "user": ("user", "user_id", "userId", "reviewerID"),
    "item": ("item", "item_id", "itemId", "movieId", "parent_asin", "asin"),
    "timestamp": ("timestamp", "time", "unixReviewTime"),
    "rating": ("rating", "overall", "stars"),
}
_INSTEAD = {"asin": "parent_asin"}
"""Where a log has both names the second is meant: Amazon 2023 has an asin for each colour and size of an item."""
_MAGIC = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd", ".parquet": b"PAR1"}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_AMAZON_ID = {"user": re.compile(r"A[0-9A-Z]{9,20}"), "item": re.compile(r"B[0-9A-Z]{9}|\d{9}[\dX]")}
_RECBOLE_TYPE = re.compile(r":(token|float)(_seq)?$")


def read_log(path: Path, columns: Columns = _BY_USUAL_NAMES, min_rating: int | float | None = None) -> pl.DataFrame:
    """Read the interactions of a file, in file order, or of several files one after the other.

    Args:
        path: a file in one of the formats above, a folder of such files, or a pattern such as ``logs/*.parquet``.
        columns: the names to look for in its header or keys; all None for a sequence file, which has none.
        min_rating: interactions with a lower rating are left out; None does not look at ratings.

    Returns:
        ``user`` and ``item`` (String, the ids as written) and ``timestamp`` (Int64, or Float64 if some are not whole).
        In a sequence file the timestamp counts the items of a user: 0, 1, 2, ...

    Raises:
        InputError: the file cannot be opened, is not what its name says, or lacks an id or a time. Rows count from 1
            as they lie in the file, a header included: they are line numbers unless a quoted field spans lines.
    """
    files = files_of(path)
    if files != [path]:
        return pl.concat([read_log(file, columns, min_rating) for file in files], how="vertical_relaxed")
    fields = columns._asdict()
    if min_rating is None:
        del fields["rating"]
    names, log = _load(path, fields)
    for field, name in names.items():
        values = log[field]
        empty = values.is_null() | (values == "") if values.dtype == pl.String else values.is_null()
        if empty.any():
            row = log["row"].filter(empty)[0]
            raise InputError(f"{path}, row {row}: {name} is missing; fill it in or delete the row")
    numbered = log.with_columns(
        _numbers(path, log["row"], log[field], names[field]) for field in ("timestamp", "rating") if field in names
    )
    kept = numbered if min_rating is None else numbered.filter(pl.col("rating") >= min_rating)
    if kept.is_empty():
        raise InputError(f"{path}: no rating is {min_rating} or more; lower dataset.min_rating")
    return kept.select("user", "item", "timestamp")


def files_of(path: Path) -> list[Path]:
    """The files of a folder or a pattern, in the order of their names; a file is its own.

    Raises:
        InputError: there are none.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith((".", "_")))
    elif any(character in path.name for character in "*?[") and not path.exists():
        files = sorted(path.parent.glob(path.name))
    else:
        return [path]
    require(bool(files), f"{path}: holds no files; give a file, a folder of files or a pattern such as logs/*.parquet")
    return files


def sha256(path: Path) -> str:
    """Hash the content of a file, or of several, as 64 hexadecimal digits; InputError if one cannot be opened."""
    digest = hashlib.sha256()
    files = files_of(path)
    if files != [path]:
        digest.update("".join(map(sha256, files)).encode())
        return digest.hexdigest()
    with _open(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of a file you may read") from error


def _load(path: Path, columns: _Fields) -> tuple[dict[str, str], pl.DataFrame]:
    """Read the row and some fields, not yet checked, and resolve the fields' names in the file."""
    with _open(path) as file:
        head = file.read(4)
    read = _reader(path)
    if head and not head.startswith(_MAGIC.get(path.suffix.lower(), b"")):
        raise InputError(f"{path}: its content is not what {path.suffix} says; rename or replace the file")
    try:
        if not head:
            raise pl.exceptions.NoDataError
        names, scan = read(path, columns)
        log = scan.collect(engine="streaming")
        if log.is_empty():
            raise pl.exceptions.NoDataError
        if any(log[field].str.contains("\0", literal=True).any() for field in ("user", "item")):
            raise UnicodeError("an id holds a NUL character")
    except pl.exceptions.NoDataError as error:
        raise InputError(f"{path}: empty, or nothing below its header; give a file with interactions") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise InputError(_explain(path, error)) from error
    return names, log


# A reader resolves the column names and plans a scan of row (the place in the file, from 1), user and item (text),
# timestamp and, where it is asked for, rating (text or numbers). It raises ValueError for what is no text at all:
# _explain finds the line.
_Source: TypeAlias = tuple[dict[str, str], pl.LazyFrame]


def _read_sequences(path: Path, columns: _Fields) -> _Source:
    if "rating" in columns:
        raise InputError(f"{path}: a .txt file is a sequence file, without ratings; set dataset.min_rating to null")
    if any(columns.values()):
        raise InputError(f"{path}: a .txt file is a sequence file, without columns; set dataset.columns.* to null")
    words = _lines(path).with_columns(pl.col("line").str.extract_all(r"\S+"))
    histories = words.select("row", user=pl.col("line").list.first(), item=pl.col("line").list.slice(1))
    log = histories.explode("item", empty_as_null=True)  # a user without items keeps a row, to be reported
    return {field: field for field in columns}, log.with_columns(timestamp=pl.int_range(pl.len()).over("user"))


def _read_delimited(path: Path, columns: _Fields, separator: str) -> _Source:
    scan = partial(pl.scan_csv, path, separator=separator, infer_schema=False, glob=False)
    header = scan().collect_schema().names()
    if any("\0" in name or "\ufffd" in name for name in header):
        raise UnicodeError("the header is not text")
    if any(isinstance(name, int) for name in columns.values()):
        own = list(map(str, range(1, len(header) + 1)))
    else:
        own = _amazon_ratings(path, header)
    header = own or [_RECBOLE_TYPE.sub("", name) for name in header]
    try:
        names = _choose(path, header, columns)
    except InputError as error:
        raise InputError(f"{error}; or, where these are no header but data, each to its place from 1") from error
    table = scan(has_header=own is None, new_columns=header).select(**names)
    filled = pl.any_horizontal(pl.all().is_not_null()).cum_max(reverse=True)  # blank lines at the end come as nulls
    return names, table.filter(filled).with_row_index("row", 2 if own is None else 1)


def _amazon_ratings(path: Path, first: list[str]) -> list[str] | None:
    """The columns of Amazon's ratings, if a file's first row is one of theirs."""
    if len(first) != 4 or not all(map(_NUMBER.fullmatch, first[2:])):
        return None
    for order in (["user", "item"], ["item", "user"]):
        if all(_AMAZON_ID[field].fullmatch(value) for field, value in zip(order, first, strict=False)):
            return [*order, "rating", "timestamp"]
    return ["user", "item", "rating", "timestamp"] if path.name.startswith("ratings_") else None


def _read_json_lines(path: Path, columns: _Fields) -> _Source:
    lines = _lines(path)
    keys = {key: None for line in lines.head(100).collect(engine="streaming")["line"] for key in _json_object(line)}
    if not keys:
        raise pl.exceptions.NoDataError
    names = _choose(path, list(keys), columns)
    texts = pl.Struct(dict.fromkeys(names.values(), pl.String))  # nothing else is built; numbers become text
    objects = lines.with_columns(pl.col("line").str.json_decode(texts))
    return names, objects.select("row", **{field: pl.col("line").struct.field(name) for field, name in names.items()})


def _read_parquet(path: Path, columns: _Fields) -> _Source:
    scan = pl.scan_parquet(path, glob=False)
    schema = scan.collect_schema()
    names = _choose(path, schema.names(), columns)
    for field, name in names.items():
        dtype = schema[name]
        timely = dtype.is_numeric() or dtype.is_temporal() or dtype == pl.String
        if dtype.is_nested() or (field in ("timestamp", "rating") and not timely):
            raise InputError(
                f"{path}: column {name!r} is {dtype}; set dataset.columns.{field} to another, or convert it"
            )
    table = scan.select(**names).cast({"user": pl.String, "item": pl.String})
    return names, table.with_row_index("row", 1)


_TEXT_READERS: dict[str, Callable[[Path, _Fields], _Source]] = {
    ".txt": _read_sequences,
    ".csv": partial(_read_delimited, separator=","),
    ".tsv": partial(_read_delimited, separator="\t"),
    ".inter": partial(_read_delimited, separator="\t"),
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json_lines,
}
_READERS = {end + packed: read for end, read in _TEXT_READERS.items() for packed in ("", ".gz", ".zst")}
_READERS[".parquet"] = _read_parquet


def _reader(path: Path) -> Callable[[Path, _Fields], _Source]:
    for end, read in _READERS.items():
        if path.name.lower().endswith(end):
            return read
    known = " ".join(_TEXT_READERS)
    raise InputError(f"{path}: unknown extension; supported are {known} (all also with .gz or .zst) and .parquet")


def is_sequence_file(path: Path) -> bool:
    """Whether a file tells the order of a user's items and not their times."""
    return _reader(path) is _read_sequences


def _lines(path: Path) -> pl.LazyFrame:
    """Plan a scan of the lines that are not blank, with their numbers as ``row``."""
    lines = pl.scan_lines(path, name="line", glob=False, row_index_name="row", row_index_offset=1)
    return lines.with_columns(pl.col("line").str.strip_prefix("\ufeff")).filter(pl.col("line").str.contains(r"\S"))


def _json_object(line: str) -> dict[str, object]:
    if not line.lstrip().startswith("{"):
        raise ValueError("not an object")
    return json.loads(line)


def _choose(path: Path, names: list[str], columns: _Fields) -> dict[str, str]:
    """Map each field to the one column that has its configured name, or one of its usual names."""
    chosen = {}
    for field, name in columns.items():
        candidates = _USUAL_NAMES[field] if name is None else (str(name),)
        found = [candidate for candidate in candidates if candidate in names]
        found = [candidate for candidate in found if _INSTEAD.get(candidate) not in found]
        if len(found) != 1:
            problem = f"several {field} columns {found}" if found else f"no {field} column {list(candidates)}"
            raise InputError(f"{path}: {problem}; set dataset.columns.{field} to one of {names!r:.500}")
        chosen[field] = found[0]
    return chosen


def _numbers(path: Path, rows: pl.Series, values: pl.Series, name: str) -> pl.Series:
    """Convert timestamps or ratings to Int64 if all are whole, else to Float64."""
    fractional = values.dtype.is_float() or values.dtype.is_decimal()  # which a cast to Int64 would truncate
    numbers = values.cast(pl.Float64 if fractional else pl.Int64, strict=False)
    if numbers.has_nulls():
        numbers = values.cast(pl.Float64, strict=False)
    wrong = ~numbers.is_finite().fill_null(False)
    if wrong.any():
        row, value = rows.filter(wrong)[0], values.filter(wrong)[0]
        raise InputError(f"{path}, row {row}: {name} {value!r:.80} is not a number; convert it, e.g. to seconds")
    return numbers


def _explain(path: Path, error: BaseException) -> str:
    """Say in one line why polars gave up on a file, naming the line if a walk through the text finds a bad one."""
    reason = next(iter(str(error).strip().splitlines()), "")
    general = f"{path}: cannot be read ({reason:.200}); check or replace the file"
    if path.suffix.lower() in (".zst", ".parquet"):
        return general
    number = 1
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as lines:
            for line in lines:
                text = line.decode("utf-8-sig")
                if "\0" in text:
                    raise UnicodeError
                if _reader(path) is _read_json_lines and text.strip():
                    _json_object(text)
                number += 1
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return f"{path}: the gzip data is cut short or damaged at line {number}; copy or download the file again"
    except UnicodeError:
        return f"{path}, line {number}: not UTF-8 text but binary or another encoding; convert or replace the file"
    except ValueError:
        return f"{path}, line {number}: not a JSON object; write one object a line"
    return general
