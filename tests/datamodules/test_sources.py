"""Every format gives the same frame."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from adamct.errors import InputError
from datamodules.columns import Columns
from datamodules.sources import read_log, sha256
from tests.datamodules.log_files import ROWS, TEXTS, compress, delimited, parquet, write

SEQUENCES = [("0001", ["B00ABC", "007", "NA"]), ("1e5", ["1.0", "B00ABC"]), ("ü", ["1.0"])]


USER, ITEM, TIME = (list(column) for column in zip(*ROWS, strict=True))
DIRT: dict[str, Callable[[bytes], bytes]] = {
    "clean": lambda text: text,
    "bom": lambda text: b"\xef\xbb\xbf" + text,
    "crlf": lambda text: text.replace(b"\n", b"\r\n"),
    "blank end": lambda text: text + b"\n\r\n\n",
    "cut end": lambda text: text.removesuffix(b"\n"),
}


@pytest.mark.parametrize("dirt", DIRT)
@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize("name", TEXTS)
def test_every_text_format_gives_the_same_frame(tmp_path: Path, name: str, packed: str, dirt: str) -> None:
    path = write(tmp_path, name + packed, compress(DIRT[dirt](TEXTS[name]), name + packed))
    log = read_log(path)
    assert log.schema == {"user": pl.String, "item": pl.String, "timestamp": pl.Int64}
    assert log.rows() == ROWS


@pytest.mark.parametrize(
    ("user", "time", "expected"),
    [
        (pl.Series(USER), pl.Series(TIME, dtype=pl.Int32), TIME),
        (pl.Series(USER, dtype=pl.Categorical), pl.Series(TIME).cast(pl.Datetime("us")), TIME),
        (pl.Series(USER), pl.Series(TIME, dtype=pl.Float32), TIME),
        (pl.Series(USER), pl.Series(TIME).cast(pl.Decimal(9, 1)), TIME),
        (pl.Series(USER), pl.Series(TIME) + 0.5, [time + 0.5 for time in TIME]),
        (pl.Series(USER).cast(pl.Binary), pl.Series([str(time) for time in TIME]), TIME),
    ],
)
def test_every_parquet_type_gives_the_same_frame(
    tmp_path: Path, user: pl.Series, time: pl.Series, expected: list
) -> None:
    table = pl.DataFrame({"extra": [[1]] * len(ROWS), "timestamp": time, "user": user, "item": ITEM})
    table.write_parquet(path := tmp_path / "log.parquet")
    assert str(read_log(path).rows()) == str(list(zip(USER, ITEM, expected, strict=True)))  # str: 1 is not 1.0


@pytest.mark.parametrize("dirt", DIRT)
@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_a_sequence_file_counts_the_items_of_a_user(tmp_path: Path, packed: str, dirt: str) -> None:
    text = "\n \n".join(f" {user}\t{'  '.join(items)} " for user, items in SEQUENCES).encode() + b"\n"
    path = write(tmp_path, "log.txt" + packed, compress(DIRT[dirt](text), packed))
    assert read_log(path).rows() == [(user, item, at) for user, items in SEQUENCES for at, item in enumerate(items)]


@pytest.mark.parametrize(
    "name",
    ["log.csv", "log.inter", "reviews_Toys_5.json"],
)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_interactions_with_low_ratings_are_left_out(tmp_path: Path, name: str, packed: str) -> None:
    text = TEXTS[name].decode().split("\n")
    low = next(index for index, line in enumerate(text) if "4.5" in line or "5.0" in line)
    text[low] = text[low].replace("4.5", "2").replace("5.0", "2")
    path = write(tmp_path, name + packed, compress("\n".join(text).encode(), name + packed))
    assert read_log(path).rows() == ROWS
    assert read_log(path, min_rating=2).rows() == ROWS
    kept = read_log(path, min_rating=2.5).rows()
    assert len(kept) == len(ROWS) - 1
    assert [row for row in ROWS if row in kept] == kept
    with pytest.raises(InputError, match=r"no rating is 9 or more; give a lower dataset\.min_rating"):
        read_log(path, min_rating=9)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("item_first", [True, False])
def test_amazons_ratings_are_recognised_in_both_orders(tmp_path: Path, item_first: bool, packed: str) -> None:
    """Ratings of 2018 have the item first, those of 2014 the user."""
    rows = [("A1V6B6TNIC10QE", "0143026860", 1), ("A2F5GHSXFQ0W6J", "B00ABCDEFG", 2), ("#oc-R1", "014302686X", 3)]
    pairs = [(item, user) if item_first else (user, item) for user, item, _ in rows]
    content = delimited(
        [(*pair, 4.0 if time < 3 else 5.0, time) for pair, (*_, time) in zip(pairs, rows, strict=True)], None
    )
    path = write(tmp_path, f"Toys.csv{packed}", compress(content, packed))
    assert read_log(path).rows() == rows
    assert read_log(path, min_rating=5).rows() == rows[2:]


@pytest.mark.parametrize("separator", ["::", "|", "§", "\t"])
@pytest.mark.parametrize("name", ["ratings.dat", "log.txt", "log.csv.gz"])
def test_a_separator_may_be_any_text_in_a_file_of_any_name(tmp_path: Path, name: str, separator: str) -> None:
    rows = [("u", "i", 30), ("u", "j", 10), ("é", "NA", -5)]
    lines = [separator.join((user, item, str(time), "5")) for user, item, time in rows]
    content = "\r\n".join([separator.join(("user", "item", "timestamp", "rating")), *lines, ""]).encode()
    path = write(tmp_path, name, compress(content, Path(name).suffix) if name.endswith(".gz") else content)
    columns = Columns(separator=separator.replace("\t", "\\t"))
    assert read_log(path, columns).rows() == rows
    assert read_log(path, columns, min_rating=5).rows() == rows


@pytest.mark.parametrize("separator", ["|", "?", ")"])
def test_a_damaged_row_between_any_separators_is_named(tmp_path: Path, separator: str) -> None:
    rows = [separator.join(row) for row in (("user", "item", "timestamp"), ("a", "x", "1"), ("b", "y", "2", "3"))]
    path = write(tmp_path, "log.dat", "\n".join(rows).encode())
    with pytest.raises(InputError, match="line 3: 4 fields, but the first row has 3"):
        read_log(path, Columns(separator=separator))


def test_rows_between_long_separators_have_as_many_columns_as_the_first(tmp_path: Path) -> None:
    path = write(tmp_path, "ratings.dat", b"u::i::1\n\nu::i::2::3\n")
    with pytest.raises(InputError, match="row 3: has 3 times '::', unlike the first row"):
        read_log(path, Columns(1, 2, 3, separator="::"))


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.tsv", "\t")])
def test_positions_of_columns_mean_a_file_without_header(tmp_path: Path, name: str, separator: str) -> None:
    path = write(tmp_path, name, delimited([(time, item, 5.0, user) for user, item, time in ROWS], None, separator))
    assert read_log(path, Columns(user=4, item=2, timestamp=1)).rows() == ROWS
    assert read_log(path, Columns(user=4, item=2, timestamp=1, rating=3), min_rating=5).rows() == ROWS
    with pytest.raises(InputError, match=r"no user column \['5'\]; set dataset\.columns\.user to one of \['1', '2'"):
        read_log(path, Columns(user=5, item=2, timestamp=1))
    with pytest.raises(InputError, match=r"no timestamp column"):
        read_log(path, Columns(user=4, item=2))
    with pytest.raises(InputError, match=r"or each column to its position from 1 if the file has no header"):
        read_log(path)


def test_a_folder_or_pattern_is_read_file_by_file(tmp_path: Path) -> None:
    half = len(ROWS) // 2
    header = ["user", "item", "timestamp"]
    for name, rows in (("b.csv", ROWS[half:]), ("a.csv", ROWS[:half]), (".hidden.csv", ROWS[:1]), ("_SUCCESS", [])):
        write(tmp_path, name, delimited(rows, header))
    assert read_log(tmp_path).rows() == ROWS
    assert read_log(tmp_path / "?.csv").rows() == ROWS
    assert read_log(tmp_path / "b*").rows() == ROWS[half:]
    hashes = {sha256(tmp_path / name) for name in ("", "b*", "b.csv", "a.csv")}
    assert len(hashes) == 4
    write(tmp_path, "b.csv", delimited(ROWS, header))
    assert sha256(tmp_path) not in hashes
    for nothing in (tmp_path / "*.parquet", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=f"{re.escape(str(nothing))}: holds no files"):
            read_log(nothing)


def test_missing_or_non_numeric_ratings_are_errors(tmp_path: Path) -> None:
    sequences, bare = write(tmp_path, "log.txt", b"a 1 2\n"), write(tmp_path, "log.ndjson", TEXTS["log.ndjson"])
    with pytest.raises(InputError, match=r"log\.txt: .* without ratings; set dataset\.min_rating"):
        read_log(sequences, min_rating=1)
    with pytest.raises(InputError, match=r"no rating column .*dataset\.columns\.rating"):
        read_log(bare, min_rating=1)
    odd = write(tmp_path, "odd.csv", b"user,item,timestamp,stars\na,1,5,good\n")
    assert read_log(odd).height == 1
    with pytest.raises(InputError, match=r"odd\.csv, row 2: stars 'good' is not a number"):
        read_log(odd, min_rating=1)


def test_an_item_of_amazon_2023_is_its_parent_asin(tmp_path: Path) -> None:
    review = {"asin": "red", "parent_asin": "shirt", "user_id": "ann", "timestamp": 5, "rating": 4.0}
    assert read_log(write(tmp_path, "a.jsonl", json.dumps(review).encode())).rows() == [("ann", "shirt", 5)]
    rows = write(tmp_path, "a.csv", b"user_id,parent_asin,rating,timestamp\nann,shirt,4.0,5\n")
    assert read_log(rows).rows() == [("ann", "shirt", 5)]


def test_a_user_may_have_several_lines_in_a_sequence_file(tmp_path: Path) -> None:
    path = write(tmp_path, "pairs.txt", b"a 1\na 2\nb 1\na 3 4\n")
    assert read_log(path).rows() == [("a", "1", 0), ("a", "2", 1), ("b", "1", 0), ("a", "3", 2), ("a", "4", 3)]


@pytest.mark.parametrize(
    ("name", "text"),
    [("log.csv", "user,item,timestamp\n12,3,{}\n12,3,{}"), ("log.json", '{{"user":12,"item":3,"timestamp":{}}}\n' * 2)],
)
@pytest.mark.parametrize("times", [[1, 2.5], [-2.25, 1e15], [9007199254740993, -1], [1700000000.1234567, 0.1]])
def test_numbers_keep_their_precision(tmp_path: Path, name: str, text: str, times: list) -> None:
    log = read_log(write(tmp_path, name, text.format(*times).encode()))
    assert log.rows() == [("12", "3", time) for time in times]
    assert log["timestamp"].dtype == (pl.Int64 if all(isinstance(time, int) for time in times) else pl.Float64)


def test_columns_can_be_chosen_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "log.csv", b"user,user_id,b,timestamp,t\nx,u,i,7,8\n")
    assert read_log(path, Columns("user_id", "b", "t")).rows() == [("u", "i", 8)]


def test_names_of_files_are_not_patterns(tmp_path: Path) -> None:
    folder = tmp_path / "a[bc]*?"
    folder.mkdir()
    for name in ("log.csv", "log.jsonl", "log.inter"):
        assert read_log(write(folder, name, TEXTS[name])).rows() == ROWS
    assert read_log(write(folder, "log.txt", b"u i")).rows() == [("u", "i", 0)]
    assert read_log(write(folder, "l.parquet", parquet(user=USER, item=ITEM, timestamp=TIME))).rows() == ROWS


def test_the_hash_is_the_sha256_of_the_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000  # longer than one chunk
    assert sha256(write(tmp_path, "a.bin", content)) == hashlib.sha256(content).hexdigest()
