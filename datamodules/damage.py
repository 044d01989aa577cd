"""The damaged line of a text file that polars cannot read. A check reads the lines up to the first damaged one."""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

Lines: TypeAlias = Iterator[tuple[int, str]]
"""The lines of a file with their numbers from 1."""
Check: TypeAlias = Callable[[Lines, Collection[str]], None]
"""Raises `DamageError` at the first line that violates a format; the second argument is the columns to read."""

_STRAY = "a stray quotation mark or carriage return; put the field in quotation marks, and double those within it"


class DamageError(ValueError):
    """The damage of a line. The message begins with the number of the line."""


def explain(path: Path, check: Check | None, columns: Collection[str], error: BaseException) -> str:
    """Return a message of one line why a file cannot be read, with the damaged line if the check finds it.

    Args:
        path: the file.
        check: finds the damaged line; None for a format without lines.
        columns: the columns to read.
        error: the error of the reader.
    """
    if isinstance(error, DamageError):
        return f"{path}, {error}"
    reason = " ".join(str(error).split("\n\n")[0].split())
    if check is not None and path.suffix.lower() != ".zst":
        try:
            with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as lines:
                check(_decoded(lines), columns)
        except DamageError as damage:
            return f"{path}, {damage}"
    return f"{path}: cannot be read ({reason:.200}); check or replace the file"


def _decoded(lines: Iterable[bytes]) -> Lines:
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            text = line.decode("utf-8-sig")
            if "\0" in text:
                raise UnicodeError
            yield number, text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem = "the gzip data is cut short or damaged here; copy or download the file again"
        raise DamageError(f"line {number + 1}: {problem}") from error
    except UnicodeError as error:
        problem = "not UTF-8 text but binary or another encoding; convert or replace the file"
        raise DamageError(f"line {number}: {problem}") from error


def check_sequences(lines: Lines, columns: Collection[str]) -> None:
    """Refuse a carriage return within a line: the line ends of an old Mac would join all users."""
    for number, line in lines:
        if "\r" in line.rstrip():
            raise DamageError(f"line {number}: a carriage return within the line; end lines with a line feed")


def check_records(lines: Lines, columns: Collection[str], separator: str) -> None:
    """Refuse a row of delimited text with stray quotation marks, or with more fields than the first row."""
    field, record = _patterns(separator)
    width = None
    for number, text in _records(lines):
        if text.count('"') % 2 or not re.fullmatch(rf"{record}\r*\n?", text):
            raise DamageError(f"line {number}: {_STRAY}")
        fields = len(re.findall(rf"(?:^|{re.escape(separator)}){field}", text))
        width = width or fields
        if fields > width:
            raise DamageError(f"line {number}: {fields} fields, but the first row has {width}; mend the row")


def check_quotation(path: Path, separator: str) -> None:
    """Raise a DamageError if a quoted field has a quotation mark that is not doubled.

    polars would read up to the mark of a later line. The rows between would become part of the field and be lost.
    """
    _, record = _patterns(separator)
    marks, row = pl.col("marks"), pl.col("row").first()
    within = (marks.cum_sum() - marks) % 2 == 1
    lines = pl.scan_lines(path, name="line", glob=False, row_index_name="row", row_index_offset=1)
    records = (
        lines.with_columns(marks=pl.col("line").str.count_matches('"', literal=True))
        .with_columns(within=within, record=(~within).cum_sum())
        .filter((marks > 0) | pl.col("within"))
        .group_by("record", maintain_order=True)
        .agg(row, pl.col("line").str.join("\n"))
    )
    for (number,) in records.filter(~pl.col("line").str.contains(f"^{record}$")).select("row").head(1).collect().rows():
        raise DamageError(f"line {number}: {_STRAY}")


def _patterns(separator: str) -> tuple[str, str]:
    """Return regular expressions of a field and of a row."""
    separator = re.escape(separator)
    field = rf'(?:"[^"]*(?:""[^"]*)*"|[^"{separator}\r\n][^{separator}\r\n]*|)'
    return field, f"{field}(?:{separator}{field})*"


def _records(lines: Lines) -> Lines:
    """Join lines until their quotation marks are paired, and number them by the first."""
    for number, line in lines:
        record, marks = [line], line.count('"')
        while marks % 2 and (following := next(lines, None)):
            record.append(following[1])
            marks += following[1].count('"')
        yield number, "".join(record)


def check_objects(lines: Lines, columns: Collection[str]) -> None:
    """Refuse a line that is not a JSON object, or that has a list or an object in a column to read."""
    for number, line in lines:
        if line.strip():
            try:
                pairs = parse_object(line)
            except ValueError as error:
                raise DamageError(f"line {number}: not a JSON object; write one object a line") from error
            for key, value in pairs:
                if key in columns and isinstance(value, list):
                    raise DamageError(f"line {number}: {key} is a list or an object; write a text or a number")


def parse_object(line: str) -> list[tuple[str, Any]]:
    """Parse a JSON object into its keys and values. Keys may be repeated; nested objects become lists as well.

    Raises:
        ValueError: the line is not a JSON object.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    if not line.lstrip().startswith("{"):
        raise ValueError("not an object")
    try:
        return json.loads(line, object_pairs_hook=list, parse_constant=refuse, parse_int=str)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
