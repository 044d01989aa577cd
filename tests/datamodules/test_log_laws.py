"""A log equals what plain Python reads, or is refused in one line that names a file.

This holds for generated logs, formats and divisions into files.
"""

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adamct.errors import InputError
from datamodules.sources import read_log
from tests.datamodules.log_files import compress, parquet

BIG = 2**53
MISSING = {"", " ", "nan", "NaN", "NAN", "null", "Null", "NULL", "None", "<NA>", "\\N"}
FIELDS = ("user", "item", "timestamp", "rating")


class Row(NamedTuple):
    """An interaction with its time as text."""

    user: str
    item: str
    time: str
    rating: int


def is_whole(time: str) -> bool:
    """Return whether a time is the text of an Int64."""
    return time.removeprefix("-").isdigit() and -(2**63) <= int(time) < 2**63


def write_text(rows: list[Row], separator: str, header: list[str]) -> bytes:
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if any("\r" in row.user + row.item for row in rows) else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=separator, lineterminator="\n", quoting=quoting).writerows([header, *rows])
    return text.getvalue().encode()


def write_json(rows: list[Row], quote: bool) -> bytes:
    lines = []
    for user, item, time, rating in rows:
        pair = {"user": int(user) if user.isdigit() and user[0] != "0" else user, "item": item, "rating": rating}
        lines.append(f'{json.dumps(pair)[:-1]}, "timestamp" : {json.dumps(time) if quote else time}}}\n')
    return "".join(lines).encode()


def write_parquet(rows: list[Row], convert: Callable[[str], Any]) -> bytes:
    users, items, times, ratings = map(list, zip(*rows, strict=True))
    return parquet(user=users, item=items, timestamp=list(map(convert, times)), rating=ratings)


def write_sequences(rows: list[Row]) -> bytes:
    """Write consecutive rows of a user as a line."""
    lines: list[list[str]] = []
    for row in rows:
        if lines and lines[-1][0] == row.user:
            lines[-1].append(row.item)
        else:
            lines.append([row.user, row.item])
    return "".join(" ".join(line) + "\n" for line in lines).encode()


RECBOLE = ["user_id:token", "item_id:token", "timestamp:float", "rating:float"]
WRITERS: dict[str, Callable[[list[Row]], bytes]] = {
    "header.csv": lambda rows: write_text(rows, ",", list(FIELDS)),
    "names.tsv": lambda rows: write_text(rows, "\t", ["userId", "movieId", "time", "stars"]),
    "types.inter": lambda rows: write_text(rows, "\t", RECBOLE),
    "numbers.jsonl": lambda rows: write_json(rows, quote=False),
    "texts.json": lambda rows: write_json(rows, quote=True),
    "texts.parquet": lambda rows: write_parquet(rows, str),
    "whole.parquet": lambda rows: write_parquet(rows, int if all(is_whole(row.time) for row in rows) else str),
    "floats.parquet": lambda rows: write_parquet(rows, float),
    "order.txt": write_sequences,
}


def read_plainly(path: Path, content: bytes) -> list[tuple[Any, ...]]:
    """Return the fields of each row as text, or in the type of the file."""
    kind = path.name.split(".")[1]
    if kind == "txt":
        lines = [line.split() for line in content.decode().split("\n") if line.split()]
        return [(user, item, None, None) for user, *items in lines for item in items]
    if kind == "parquet":
        return pl.read_parquet(io.BytesIO(content)).select(FIELDS).rows()
    if kind in ("json", "jsonl"):
        objects = [json.loads(line, parse_int=str, parse_float=str) for line in content.decode().split("\n") if line]
        return [tuple(found[field] for field in FIELDS) for found in objects]
    separator = "," if kind == "csv" else "\t"
    return [tuple(row) for row in [*csv.reader(io.StringIO(content.decode(), newline=""), delimiter=separator)][1:]]


class Plain(NamedTuple):
    """The rows that plain Python reads, and whether `read_log` must or may refuse them."""

    rows: list[tuple[str, str, Decimal]]
    must: bool
    may: bool


def exact(time: str | int | float) -> Decimal:
    return Decimal(repr(time)) if isinstance(time, float) else Decimal(time)


def plain_log(files: dict[Path, bytes], min_rating: int | None) -> Plain:
    """Read all files. Times are exact numbers, or count a user's items if the files have only an order."""
    tables = {path: read_plainly(path, content) for path, content in files.items()}
    ordered = {path.name.split(".")[1] == "txt" for path in files}
    rows = [row for table in tables.values() for row in table]
    missing = any(id in MISSING for row in rows for id in row[:2])
    if ordered != {False}:
        counts, log = Counter[str](), []
        for user, item, *_ in rows:
            log.append((user, item, Decimal(counts[user])))
            counts[user] += 1
        refused = missing or len(ordered) == 2 or min_rating is not None
        return Plain(log, refused, refused)
    floats = [any(isinstance(row[2], float) or not is_whole(str(row[2])) for row in table) for table in tables.values()]
    kept = [row for row in rows if min_rating is None or float(row[3]) >= min_rating]
    fractional = any(exact(row[2]) % 1 != 0 for row in kept)

    def inexact(time: str | int | float) -> bool:
        return abs(exact(time)) >= BIG or exact(time) != Decimal(repr(float(time)))

    rounded = fractional and any(inexact(row[2]) for row in kept)
    rounded |= any(isinstance(row[2], float) and abs(row[2]) >= BIG for row in rows)
    # Whole numbers with the text of fractions, or beside a fraction of a row with a low rating.
    doubtful = any(floats) and any(inexact(row[2]) for row in rows)
    log = [(user, item, exact(time)) for user, item, time, _ in kept]
    must = missing or rounded or not kept
    return Plain(log, must, must or doubtful)


IDS = ["ann", "bob", "0012", "12", "1.0", "ü", "NA", "A1"]
ODD = [" a", "b ", 'q"x', '"q"', "x,y", "l\nm", "t\tu", "c\rd", "'", "#", "-", *MISSING]
WHOLE = st.integers(-3, 5) | st.sampled_from([BIG - 1, BIG, BIG + 1, -BIG - 1, 2**62, 2**62 + 1])
FRACTIONS = st.sampled_from(
    ["0.5", "1.5", "-2.25", "5.0", "1e3", "1700000000.1234567", "1700000000.123456789", "1700000000.12345678"]
)
TIMES = [
    st.integers(-3, 5).map(str),
    WHOLE.map(str),
    st.integers(-3, 5).map(str) | FRACTIONS,
    WHOLE.map(str) | FRACTIONS,
]


@st.composite
def divided_logs(draw: st.DrawFn) -> dict[str, bytes]:
    """Draw files, in the order of their names, each in one of the formats."""
    ids = st.sampled_from(IDS)
    if draw(st.integers(0, 3)) == 0:
        ids |= st.sampled_from(ODD)
    times = draw(st.sampled_from(TIMES))
    rows = draw(st.lists(st.builds(Row, ids, ids, times, st.integers(1, 5)), min_size=1, max_size=12))
    only = draw(st.sampled_from([["order.txt"], [name for name in WRITERS if name != "order.txt"], [*WRITERS]]))
    if "order.txt" in only:
        rows = [row for row in rows if not set(row.user + row.item) & set(" \n\t\r") and row.user and row.item]
    cuts = sorted({0, len(rows), *draw(st.lists(st.integers(0, len(rows)), max_size=3))})
    files = {}
    for number, (start, end) in enumerate(pairwise(cuts)):
        kind = draw(st.sampled_from(only))
        packed = "" if kind.endswith(".parquet") else draw(st.sampled_from(["", ".gz", ".zst"]))
        files[f"{number}{kind}{packed}"] = WRITERS[kind](rows[start:end])
    return files


def check_law(folder: Path, contents: dict[str, bytes], min_rating: int | None) -> str:
    """Read the files of a log, compare with the plain reader, and return the outcome."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    files = {folder / name: content for name, content in contents.items()}
    for path, content in files.items():
        path.write_bytes(compress(content, path.name))
    expected = plain_log(files, min_rating)
    try:
        log = read_log(folder, min_rating=min_rating)
    except InputError as error:
        message = str(error)
        named = [path for path in files if message.startswith(str(path))]
        assert named or (message.startswith(f"{folder}: no rating") and not expected.rows)
        assert len(message.splitlines()) == 1
        assert expected.may, message
        return "refused"
    assert not expected.must
    found = [(user, item, exact(time)) for user, item, time in log.rows()]
    assert found == expected.rows
    return "equal"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents=divided_logs().filter(bool), min_rating=st.sampled_from([None, None, 3, 9]))
def test_a_divided_log_equals_plain_python(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes], min_rating: int | None
) -> None:
    check_law(tmp_path_factory.getbasetemp() / "law", contents, min_rating)


@pytest.mark.slow
def test_many_divided_logs_equal_plain_python(tmp_path: Path) -> None:
    outcomes = Counter[str]()

    @settings(max_examples=4000, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(contents=divided_logs().filter(bool), min_rating=st.sampled_from([None, None, 3, 9]))
    def check(contents: dict[str, bytes], min_rating: int | None) -> None:
        outcomes[check_law(tmp_path / "law", contents, min_rating)] += 1

    check()
    print(dict(outcomes))
    assert min(outcomes["equal"], outcomes["refused"]) > 500


RAW = st.sampled_from(
    ["a", "b", '"', '""', '"a"', 'a"b', '"a', 'a"', '"a""b"', '"a"b', '"x\ny"', '"a,b"', '"""', 'a""b']
)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(RAW, RAW, RAW), min_size=1, max_size=6), noisy=st.sampled_from(["user", "item", "text"]))
def test_stray_quotation_marks_do_not_join_or_lose_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], noisy: str
) -> None:
    """The log equals that of Python's strict reader, for marks in read and unread columns."""
    fields = ["user", "text", "item", "timestamp"]
    lines = [fields, *([raw if noisy == name else "x" for name, raw in zip(fields, row, strict=False)] for row in rows)]
    content = "".join(",".join([*line, "1"][:4]) + "\n" for line in lines)
    path = tmp_path_factory.getbasetemp() / "quotes.csv"
    path.write_text(content)
    try:
        expected = [*csv.reader(io.StringIO(content, newline=""), strict=True)][1:]
    except csv.Error:
        expected = None
    try:
        log = read_log(path)
    except InputError as error:
        message = str(error)
        assert message.startswith(f"{path}, "), message
        return
    assert expected is not None
    assert log.rows() == [(user, item, int(time)) for user, _, item, time in expected]


LOST = b'user,item,timestamp,review\nu,a,1,good\nu,b,2,"\nu,c,3,"so so"\nu,d,4,"\nu,e,5,good\n'


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_a_stray_mark_in_an_unread_column_is_an_error(tmp_path: Path, packed: str) -> None:
    """polars reads the text between two marks as one field, and loses the rows in it."""
    path = tmp_path / f"log.csv{packed}"
    path.write_bytes(compress(LOST, path.name))
    with pytest.raises(InputError, match=r"log\.csv.*, line 3: a stray quotation mark"):
        read_log(path)
