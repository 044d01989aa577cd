"""A log in many files: one rule for all files, one kind of times, and no digit of a time lost."""

import datetime as dt
import os
import re
from pathlib import Path

import polars as pl
import pytest

from adamct.errors import InputError
from datamodules.columns import Columns
from datamodules.sources import read_log, sha256
from tests.datamodules.log_files import HEADER, delimited, parquet, write


def parts(folder: Path, **contents: bytes) -> Path:
    """Write the content of ``a_csv=...`` to a.csv, and so on."""
    for name, content in contents.items():
        write(folder, name.replace("_", "."), content)
    return folder


def log_of(times: pl.Series) -> bytes:
    return parquet(user=["u"] * len(times), item=list(map(str, range(len(times)))), timestamp=times)


NEW_YEARS = pl.Series([dt.datetime(2010, 1, 1), dt.datetime(2020, 1, 1)])
CLOCKS = {
    "datetimes in ms without a time zone": NEW_YEARS.cast(pl.Datetime("ms")),
    "datetimes in us without a time zone": NEW_YEARS,
    "datetimes in us with a time zone": NEW_YEARS.dt.replace_time_zone("Asia/Tokyo"),
    "times of type Date": NEW_YEARS.cast(pl.Date),
    "times of type Duration": NEW_YEARS - NEW_YEARS[0],
    "times that are numbers": pl.Series([1, 2]),
}


@pytest.mark.parametrize("first", CLOCKS)
@pytest.mark.parametrize("second", CLOCKS)
def test_times_of_two_kinds_do_not_mix(tmp_path: Path, first: str, second: str) -> None:
    folder = parts(tmp_path, a_parquet=log_of(CLOCKS[first]), b_parquet=log_of(CLOCKS[second]))
    if first == second:
        assert read_log(folder)["timestamp"].to_list() == CLOCKS[first].cast(pl.Int64).to_list() * 2
        return
    with pytest.raises(InputError, match=rf"b\.parquet: has {second}.*, but a\.parquet has {first}.*; convert one"):
        read_log(folder)


def test_time_zones_do_not_change_times(tmp_path: Path) -> None:
    utc = NEW_YEARS.dt.replace_time_zone("UTC")
    folder = parts(tmp_path, a_parquet=log_of(utc), b_parquet=log_of(utc.dt.convert_time_zone("Asia/Tokyo")))
    assert read_log(folder)["timestamp"].n_unique() == 2


@pytest.mark.parametrize("other", ["a.csv", "z.csv"])
def test_sequence_files_and_files_with_times_do_not_mix(tmp_path: Path, other: str) -> None:
    write(tmp_path, "log.txt", b"u a b\n")
    write(tmp_path, other, HEADER + b"u,c,5\n")
    with pytest.raises(InputError, match=r"has (the order of|times).* but .* has (the order of|times)") as caught:
        read_log(tmp_path)
    assert {"log.txt", other} <= set(re.findall(r"\w+\.\w+", str(caught.value)))


def test_a_user_continues_in_the_second_sequence_file(tmp_path: Path) -> None:
    folder = parts(tmp_path, a_txt=b"u a b\nv a\n", b_txt=b"v c\nu c d\n")
    assert read_log(folder).sort("user", "timestamp").rows() == [
        *(("u", item, at) for at, item in enumerate("abcd")),
        *(("v", item, at) for at, item in enumerate("ac")),
    ]


def test_anything_but_a_file_is_an_error(tmp_path: Path) -> None:
    """Links and folders are not skipped silently, neither in a folder nor by a pattern."""
    folder = parts(tmp_path, a_csv=HEADER + b"u,i,1\n")
    for name, make, problem in (
        ("b.csv", lambda path: path.symlink_to("absent.csv"), "is a broken link"),
        ("c.csv", lambda path: path.symlink_to(path), "is a broken link"),
        ("d.csv", Path.mkdir, "is a folder"),
        ("e.csv", os.mkfifo, "is not a file"),
    ):
        make(tmp_path / name)
        for path in (folder, folder / "*.csv"):
            for read in (read_log, sha256):
                with pytest.raises(InputError, match=rf"{name}: {problem}; move it elsewhere"):
                    read(path)
        assert read_log(folder / "a*").height == 1
        (tmp_path / name).rmdir() if (tmp_path / name).is_dir() else (tmp_path / name).unlink()
    (tmp_path / "b.csv").symlink_to("a.csv")
    assert read_log(folder).height == 2
    (tmp_path / "_b.csv").write_bytes(HEADER)
    (tmp_path / ".c.csv").mkdir()
    assert (read_log(folder).height, read_log(folder / "[ab]*").height) == (2, 2)


def test_an_impossible_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"File name too long"):
        read_log(tmp_path / ("x" * 300))
    with pytest.raises(InputError, match=r"null byte"):
        read_log(tmp_path / "x\0y")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match=r"pipe\.csv: is not a file"):
        read_log(tmp_path / "pipe.csv")


def test_one_file_but_not_all_may_have_only_low_ratings(tmp_path: Path) -> None:
    header = ["user", "item", "timestamp", "rating"]
    low, high = delimited([("u", "a", 1, 2)], header), delimited([("u", "b", 2, 5), ("u", "c", 3, 1)], header)
    folder = parts(tmp_path, a_csv=low, b_csv=high)
    assert read_log(folder, min_rating=4).rows() == [("u", "b", 2)]
    with pytest.raises(InputError, match=rf"{re.escape(str(folder))}: no rating is 6 or more"):
        read_log(folder, min_rating=6)
    parts(tmp_path, c_csv=delimited([("u", "b", 2, "")], header))
    with pytest.raises(InputError, match=r"c\.csv, row 2: rating is missing"):
        read_log(folder, min_rating=4)


BIG = 2**53
INEXACT = {
    "decimals beyond a float": ("a.csv", HEADER + b"u,a,1700000000.123456789\nu,b,1700000000.123456788\n", 2),
    "whole, but written as floats": ("a.csv", HEADER + f"u,a,5\nu,b,{BIG + 1}.0\nu,c,{BIG}.0\n".encode(), 3),
    "beside a fraction": ("a.tsv", f"user\titem\ttime\nu\ta\t1.5\nu\tb\t{BIG + 1}\n".encode(), 3),
    "beyond Int64": ("a.csv", HEADER + b"u,a,18446744073709551615\n", 2),
    "too near to 0": ("a.csv", HEADER + b"u,a,1e-400\n", 2),
    "a long exponent": ("a.csv", HEADER + b"u,a,1e-99999999999999999999\n", 2),
    "in JSON with digits": ("a.jsonl", b'{"user":"u","item":"a","timestamp":1700000000.123456789}\n', 1),
    "in JSON as float": ("a.jsonl", b'{"user":"u","item":"a","timestamp" : %d.0}\n' % (BIG + 1), 1),
    "in JSON with an exponent": ("a.jsonl", b'{"user":"u","item":"a","timestamp":1.234567890123456789e18}\n', 1),
    "Float64": ("a.parquet", log_of(pl.Series([1.0, BIG])), 2),
    "Float32": ("a.parquet", log_of(pl.Series([1.0, 1.4e9], dtype=pl.Float32)), 2),
    "UInt64": ("a.parquet", log_of(pl.Series([1, 2**63], dtype=pl.UInt64)), 2),
    "Decimal": ("a.parquet", log_of(pl.Series([f"{BIG + 1}.1"]).cast(pl.Decimal(30, 1))), 1),
}


@pytest.mark.parametrize("case", INEXACT)
def test_times_that_a_float_would_round_are_errors(tmp_path: Path, case: str) -> None:
    name, content, row = INEXACT[case]
    with pytest.raises(
        InputError, match=rf"{re.escape(name)}, row {row}: time.* would be rounded as a float; write all"
    ):
        read_log(write(tmp_path, name, content))


def test_fractions_in_one_file_do_not_round_times_of_another(tmp_path: Path) -> None:
    folder = parts(tmp_path, a_csv=HEADER + b"u,a,%d\nu,b,%d\n" % (1, BIG + 1), b_csv=HEADER + b"u,c,2\n")
    assert read_log(folder)["timestamp"].to_list() == [1, BIG + 1, 2]
    parts(tmp_path, b_csv=HEADER + b"u,c,1.5\n")
    with pytest.raises(InputError, match=rf"a\.csv, row 3: timestamp {BIG + 1}, beside .* fractions, would be rounded"):
        read_log(folder)
    parts(tmp_path, a_csv=HEADER + b"u,a,1\n")
    assert read_log(folder)["timestamp"].to_list() == [1.0, 1.5]


def test_long_json_numbers_keep_their_digits(tmp_path: Path) -> None:
    ids = [f"{BIG + 1}.0", f"{BIG}.0", "123456789012345678901234567890", "12", "0.1234567890123456789"]
    lines = "".join(f'{{"item": {{"user": 0.5}}, "user": {id}, "asin": "x", "time": 1.25}}\n' for id in ids)
    path = write(tmp_path, "a.jsonl", lines.encode())
    assert read_log(path, Columns(user="user", item="asin")).rows() == [(id, "x", 1.25) for id in ids]


@pytest.mark.parametrize(("name", "text"), [("a.csv", HEADER + b"a,b,1\n"), ("a.jsonl", b'{"user":"a","timestamp":1}')])
def test_a_column_is_not_read_for_two_fields(tmp_path: Path, name: str, text: bytes) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(
        InputError, match=r"'user' is both the user and the item; set dataset\.columns\.item to another"
    ):
        read_log(path, Columns(item="user"))
    if name == "a.csv":
        with pytest.raises(InputError, match=r"'2' is both the user and the timestamp"):
            read_log(path, Columns(user=2, item=1, timestamp=2))


def test_an_unread_column_may_occur_twice(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b"user,x,item,x,x_duplicated_0,timestamp\na,1,b,2,3,4\n")
    assert read_log(path).rows() == [("a", "b", 4)]


@pytest.mark.parametrize("name", ["ratings_x.csv", "x.csv"])
def test_amazons_ratings_are_recognised_by_ids_not_by_name(tmp_path: Path, name: str) -> None:
    """A name does not show which of two ids is the user, and the first row may have an unusual user."""
    path = write(tmp_path, name, b"i1,u1,5.0,1\ni2,u2,4.0,2\n")
    with pytest.raises(InputError, match=r"no user column.* or each column to its position from 1"):
        read_log(path)
    rows = [("#oc-R1", "B00ABCDEFG", 5.0, 1), ("A1V6B6TNIC10QE", "B00ABCDEFG", 4.0, 2)]
    assert read_log(write(tmp_path, name, delimited(rows, None))).rows() == [(row[0], row[1], row[3]) for row in rows]
    swapped = [(item, user, rating, time) for user, item, rating, time in rows]
    assert read_log(write(tmp_path, name, delimited(swapped, None))).rows() == [(r[0], r[1], r[3]) for r in rows]
    with pytest.raises(InputError, match=r"no user column"):
        read_log(write(tmp_path, name, delimited([*rows, *swapped], None)))


def test_ids_keep_their_spaces(tmp_path: Path) -> None:
    assert read_log(write(tmp_path, "a.csv", HEADER + b" a,b ,1\n")).rows() == [(" a", "b ", 1)]


def test_whole_decimals_are_ids(tmp_path: Path) -> None:
    """Databases export whole numbers in this type."""
    ids = pl.Series(["12", "7"]).cast(pl.Decimal(38, 0))
    assert read_log(write(tmp_path, "a.parquet", parquet(user=ids, item=ids, timestamp=[1, 2])))["user"].to_list() == [
        "12",
        "7",
    ]


def test_long_lines_and_gzip_members_are_read(tmp_path: Path) -> None:
    import gzip

    long = b"i" * 5_000_000
    assert read_log(write(tmp_path, "a.csv", HEADER + b"u," + long + b",1\n"))["item"][0] == long.decode()
    assert read_log(write(tmp_path, "a.txt", b"u" + b" i" * 500_000)).height == 500_000
    members = gzip.compress(HEADER + b"u,a,1\n") + gzip.compress(b"u,b,2\n")
    assert read_log(write(tmp_path, "A.CSV.GZ", members)).height == 2
    assert read_log(write(tmp_path, "b.Parquet", parquet(user=["u"], item=["i"], timestamp=[1]))).height == 1
