"""From a file, a folder or a pattern to one log: user, item, timestamp. All files have the same kind of times.

`datamodules.formats` describes the formats.
"""

import hashlib
import os
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from glob import glob
from pathlib import Path

import polars as pl

from adamct.errors import InputError, require
from datamodules.columns import Columns
from datamodules.formats import ORDER, Table, open_binary, read_table

CACHE_TAG = "CACHEDIR.TAG"
"""The file that marks the folder of a cache; see https://bford.info/cachedir."""
_BY_USUAL_NAMES = Columns()
_MISSING = ("", " ", "nan", "NaN", "NAN", "null", "Null", "NULL", "None", "<NA>", "\\N")
"""The texts that programs write for a missing id."""
_EXACT, _EXACT_FLOAT32 = 2**53, 2**24
"""The numbers from which on a Float64 and a Float32 skip whole numbers."""
_INEXACT = "would be rounded as a float; write all times as whole numbers, e.g. of microseconds"


def read_log(path: Path, columns: Columns = _BY_USUAL_NAMES, min_rating: int | float | None = None) -> pl.DataFrame:
    """Read the interactions of a file, or of several files one after the other, in file order.

    Args:
        path: a file in one of the formats, a folder of such files, or a pattern such as ``logs/*.parquet``.
        columns: the names of its columns or keys; all None for a sequence file, which has none.
        min_rating: the lowest rating of an interaction that is kept; None reads no ratings.

    Returns:
        ``user`` and ``item`` (String, the ids as written) and ``timestamp`` (Int64, or Float64 if some are not whole).
        A datetime is a number of its unit. In a sequence file the timestamp counts the items of a user: 0, 1, 2, ...

    Raises:
        InputError: a file cannot be opened, does not have the format of its name, lacks an id or a time, has a time
            that a float would round, or has another kind of times than the first file. Row numbers count all rows of
            the file from 1, including a header: they are line numbers unless a quoted field spans lines.
    """
    fields = columns._asdict()
    separator = fields.pop("separator")
    if min_rating is None:
        del fields["rating"]
    files = files_of(path)
    logs, clocks = [], []
    for file in files:
        table = read_table(file, fields, separator)
        clocks.append(table.clock)
        rows = _checked(file, table)
        logs.append(rows if min_rating is None else rows.filter(pl.col("rating") >= min_rating))
    for file, clock in zip(files, clocks, strict=True):
        require(
            clock == clocks[0],
            f"{file}: has {clock}, but {files[0].name} has {clocks[0]}; convert one, or give files of one kind",
        )
    if clocks[0] == ORDER:
        log = pl.concat(logs).with_columns(timestamp=pl.int_range(pl.len()).over("user"))
    else:
        log = pl.concat(_of_one_type(files, logs))
    require(not log.is_empty(), f"{path}: no rating is {min_rating} or more; give a lower dataset.min_rating")
    return log.select("user", "item", "timestamp")


def files_of(path: Path) -> list[Path]:
    """List the files of a folder or a pattern, in the order of their names; a file gives only itself.

    In a folder, names that begin with ``.`` or ``_`` are skipped; a pattern skips names that begin with ``.``. Both
    skip the folder of a cache, such as that of the prepared data.

    Raises:
        InputError: there are no files, or one of them is not a regular file.
    """
    if os.path.isdir(path):
        try:
            names = [name for name in os.listdir(path) if not name.startswith((".", "_"))]
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; give a folder you may read") from error
        files = [path / name for name in sorted(names)]
    elif any(character in path.name for character in "*?[") and not os.path.exists(path):
        files = [path.parent / name for name in sorted(glob(path.name, root_dir=path.parent))]
    else:
        files = [path]
    files = [file for file in files if not os.path.exists(file / CACHE_TAG)]
    require(bool(files), f"{path}: holds no files; give a file, a folder of files or a pattern such as logs/*.parquet")
    for file in files:
        kind = "a folder" if os.path.isdir(file) else "a broken link" if os.path.islink(file) else "not a file"
        absent = not os.path.lexists(file)  # the error of opening it tells this
        require(absent or os.path.isfile(file), f"{file}: is {kind}; move it elsewhere, or name the files by a pattern")
    return files


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, or of several files, as 64 hexadecimal digits.

    Raises:
        InputError: a file cannot be opened.
    """
    digest = hashlib.sha256()
    files = files_of(path)
    if files != [path]:
        digest.update("".join(map(sha256, files)).encode())
        return digest.hexdigest()
    with open_binary(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def require_readable(path: object) -> None:
    """Refuse a path whose files cannot be opened. The config's check refuses what is no path, such as an empty text.

    Raises:
        InputError: names the file.
    """
    for file in files_of(Path(path)) if isinstance(path, str) and path else ():
        open_binary(file).close()


def is_unchanged(path: str | None, digest: str | None) -> bool:
    """Return whether files still have the content of a SHA-256. Unreadable files and None count as unchanged."""
    try:
        return path is None or sha256(Path(path)) == digest
    except InputError:
        return True


def _checked(file: Path, table: Table) -> pl.DataFrame:
    """Refuse missing values, and convert times and ratings to numbers."""
    rows = table.rows
    for field, name in table.names.items():
        missing = rows[field].is_null()
        if field in ("user", "item"):
            missing |= rows[field].is_in(_MISSING)
        for row, value in _first(rows, field, missing):
            raise InputError(f"{file}, row {row}: {name} is missing ({value!r:.80}); fill it in or delete the row")
    if "timestamp" in table.names:
        rows = rows.with_columns(_times(file, rows, table.names["timestamp"]))
    if "rating" in table.names:
        rows = rows.with_columns(_floats(file, rows, "rating", table.names["rating"]))
    return rows


def _first(rows: pl.DataFrame, field: str, wrong: pl.Series) -> list[tuple[int, object]]:
    """Return the number of the first wrong row and its value of a field; an empty list if none is wrong."""
    return rows.filter(wrong).select("row", field).head(1).rows() if wrong.any() else []


def _times(file: Path, rows: pl.DataFrame, name: str) -> pl.Series:
    """Convert timestamps to Int64 if all are whole, otherwise to Float64, without rounding."""
    if rows["timestamp"].dtype.is_decimal():
        rows = rows.cast({"timestamp": pl.String})
    times = rows["timestamp"]
    if not times.dtype.is_float():
        whole = times.cast(pl.Int64, strict=False)
        if not whole.has_nulls():
            return whole
    floats = _floats(file, rows, "timestamp", name)
    inexact = floats.abs() >= (_EXACT_FLOAT32 if times.dtype == pl.Float32 else _EXACT)
    if times.dtype == pl.String:
        inexact |= _rounded(times, floats)
    for row, value in _first(rows, "timestamp", inexact):
        raise InputError(f"{file}, row {row}: {name} {value!r:.80} {_INEXACT}")
    whole = floats.cast(pl.Int64)
    return whole if (whole == floats).all() else floats


def _floats(file: Path, rows: pl.DataFrame, field: str, name: str) -> pl.Series:
    floats = rows[field].cast(pl.Float64, strict=False)
    for row, value in _first(rows, field, ~floats.is_finite().fill_null(False)):
        raise InputError(f"{file}, row {row}: {name} {value!r:.80} is not a number; convert it, e.g. to seconds")
    return floats


def _rounded(texts: pl.Series, floats: pl.Series) -> pl.Series:
    """Return for each text whether it was rounded when it was converted to a float."""
    # A float keeps any 15 digits unless it is close to 0, and all digits of the shortest text that is read as it.
    doubtful = pl.DataFrame({"text": texts, "float": floats}).filter(
        (texts.str.len_bytes() > 16) | (floats.abs() < 1e-290)
    )
    pairs = doubtful.filter(pl.col("text") != pl.col("float").cast(pl.String)).unique()
    return texts.is_in([text for text, number in pairs.iter_rows() if not _equal(text, number)])


def _equal(text: str, number: float) -> bool:
    try:
        return Decimal(text) == Decimal(repr(number))
    except InvalidOperation:  # an exponent of many digits
        return False


def _of_one_type(files: Sequence[Path], logs: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Convert all timestamps to Float64 if some files have that type, without rounding."""
    if len({log["timestamp"].dtype for log in logs}) == 1:
        return list(logs)
    for file, log in zip(files, logs, strict=True):
        for row, value in _first(log, "timestamp", (log["timestamp"] >= _EXACT) | (log["timestamp"] <= -_EXACT)):
            raise InputError(f"{file}, row {row}: timestamp {value}, beside times with fractions, {_INEXACT}")
    return [log.cast({"timestamp": pl.Float64}) for log in logs]
