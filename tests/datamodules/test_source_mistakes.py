"""Every mistake in a source gives one line that names the file and the row or column."""

import datetime as dt
import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamct.errors import InputError
from datamodules.columns import Columns
from datamodules.sources import read_log, sha256
from tests.datamodules.log_files import FUZZED, GOOD, HEADER, TEXTS, compress, parquet, write

GZ = gzip.compress(b"".join(b"u%d i%d\n" % (n, n * n) for n in range(5000)))
JSON_OK = b'{"user":"a","item":"b","timestamp":1}\n'
MISTAKES = {
    **{f"empty {name}": (name, b"", ["empty"]) for name in ("a.csv", "a.txt", "a.jsonl", "a.parquet", "a.csv.gz")},
    "empty inside gzip": ("a.csv.gz", gzip.compress(b""), ["empty"]),
    "bom only": ("a.txt", b"\xef\xbb\xbf", ["empty"]),
    "blank csv": ("a.csv", b"\n\r\n\n", ["empty"]),
    "header only": ("a.csv", HEADER, ["empty", "header"]),
    "header and blanks": ("a.inter", b"user\titem\ttimestamp\n\n\n", ["empty", "header"]),
    "no parquet rows": ("a.parquet", parquet(user=[], item=[], timestamp=pl.Series([], dtype=pl.Int64)), ["empty"]),
    "cut txt.gz": ("a.txt.gz", GZ[: len(GZ) // 2], ["gzip", "cut short"]),
    "cut json.gz": ("a.json.gz", gzip.compress(JSON_OK)[:-9], ["gzip", "cut short"]),
    "damaged gzip": ("a.txt.gz", GZ[:-8] + b"\0" * 8, ["gzip", "damaged"]),
    "cut zst": ("a.csv.zst", compress(HEADER + b"a,b,1\n" * 99, ".zst")[:-3], ["cannot be read"]),
    "no gzip": ("a.csv.gz", HEADER + b"a,b,1\n", ["not what .gz says"]),
    "no parquet": ("a.parquet", b"user,item\n" * 9, ["not what .parquet says"]),
    "cut parquet": ("a.parquet", GOOD[:-20], ["cannot be read"]),
    "bad utf-8 in csv": ("a.csv", HEADER + b"a,b,1\na,\xff,1\n", ["line 3", "UTF-8"]),
    "bad utf-8 in txt": ("a.txt", b"a b\n\xff\xfe b\n", ["line 2", "UTF-8"]),
    "bad utf-8 in jsonl.gz": ("a.jsonl.gz", gzip.compress(JSON_OK + b'{"user":"\xff"}\n'), ["line 2", "UTF-8"]),
    "bad utf-8 in header": ("a.csv", b"\xff\xfe\x01,\xc3\n1,2\n", ["line 1", "UTF-8"]),
    "nul in csv": ("a.csv", HEADER + b"a,b,1\nc,d\0,2\n", ["line 3", "text"]),
    "nul in txt": ("a.txt", b"a b\n\0\0\0\n", ["line 2", "text"]),
    "nul in header": ("a.tsv", b"user\0\titem\n", ["line 1", "text"]),
    "open quote": ("a.csv", HEADER + b'a,b,1\n"c,d,2\n', ["line 3", "stray quotation mark"]),
    "quote within": (
        "a.tsv",
        HEADER.replace(b",", b"\t") + b'a\tb\t1\nc"x\td\t2\ne\tf\t3\n',
        ["line 3", "quotation mark"],
    ),
    "quote closed early": ("a.csv.gz", gzip.compress(HEADER + b'"a\nb",b,1\n"c"x,d,2\n'), ["line 4", "quotation mark"]),
    "long row": ("a.csv", HEADER + b'a,"b,\n"",",1\nc,d,2,3\n', ["line 4: 4 fields, but the first row has 3"]),
    "header twice": ("a.csv", b"user,item,user,timestamp\na,b,c,1\n", ["several user columns ['user', 'user']"]),
    "typed header twice": ("a.inter", b"user_id:token\tuser_id:float\n1\t2\n", ["several user columns"]),
    "key twice": ("a.json", JSON_OK + b'{"user":"a","item":"b","user":"c","timestamp":1}\n', ["several user columns"]),
    "cr-only txt": ("a.txt", b"a b c\rd e f\r", ["line 1: a carriage return"]),
    "cr-only lines in txt": ("a.txt", b"a b c\r\nd e f\r \rg h i\n", ["line 2: a carriage return"]),
    "cr-only csv": ("a.csv", HEADER.replace(b"\n", b"\r") + b"a,b,1\rc,d,2\r", ["line 1", "carriage return"]),
    "utf-16": ("a.csv", (HEADER + b"a,b,1\n").decode().encode("utf-16"), ["line 1: not UTF-8"]),
    "parquet as csv": ("a.csv", GOOD, ["not UTF-8 text but binary"]),
    "id nan": ("a.csv", HEADER + b"a,b,1\nnan,b,2\n", ["row 3: user is missing ('nan')"]),
    "id null": (
        "a.jsonl",
        JSON_OK + b'{"user":"null","item":"b","timestamp":1}\n',
        ["row 2: user is missing ('null')"],
    ),
    "id blank": ("a.tsv", b"user\titem\ttimestamp\na\t \t1\n", ["row 2: item is missing (' ')"]),
    "id NaN in parquet": (
        "a.parquet",
        parquet(user=[1.0, float("nan")], item=[1, 2], timestamp=[1, 2]),
        ["'user' is Float64"],
    ),
    "id None in txt": ("a.txt", b"None 1 2\n", ["row 1: user is missing ('None')"]),
    "bool id": ("a.parquet", parquet(user=[True], item=[1], timestamp=[1]), ["'user' is Boolean"]),
    "json NaN": ("a.jsonl", JSON_OK + b'{"user":NaN,"item":"b","timestamp":1}\n', ["line 2: not a JSON object"]),
    "json deep": ("a.jsonl", JSON_OK + b'{"x":' + b"[" * 9999 + b"]" * 9999 + b"}\n", ["line 2: not a JSON object"]),
    "time of day": ("a.parquet", parquet(user=["a"], item=["b"], timestamp=[dt.time(3)]), ["'timestamp' is Time"]),
    "json array": ("a.json", b'[\n{"user":1,"item":2,"timestamp":3}\n]\n', ["line 1", "JSON object"]),
    "python dict": ("a.json", JSON_OK + b"\n" + JSON_OK.replace(b'"', b"'"), ["line 3", "JSON object"]),
    "cut json far down": ("a.jsonl", JSON_OK * 150 + b'{"user":', ["line 151", "JSON object"]),
    "json list as id": ("a.jsonl", JSON_OK + b'{"user":[1],"item":2,"timestamp":3}\n', ["line 2: user is a list"]),
    "json object as id": (
        "a.jsonl",
        b'{"item":{"a":1},"user":2,"timestamp":3}\n',
        ["line 1: item is a list or an object"],
    ),
    "json keys missing": ("a.jsonl", JSON_OK + b'\n{"user":"a","timestamp":1}\n', ["row 3", "item is missing"]),
    "json empty": ("a.jsonl", JSON_OK + b'{"user":"","item":"b","timestamp":1}\n', ["row 2", "user is missing"]),
    "json no time": ("a.jsonl", JSON_OK + b'{"user":"a","item":"b"}\n', ["row 2", "timestamp is missing"]),
    "json time": ("a.jsonl", JSON_OK + b'{"user":"a","item":"b","timestamp":true}\n', ["row 2", "'true'"]),
    "no user": ("a.csv", b"who,item,timestamp\n1,2,3\n", ["user_id", "dataset.columns.user", "'who', 'item'"]),
    "no time": ("a.inter", b"user_id:token\titem_id:token\n1\t2\n", ["dataset.columns.timestamp", "'item_id'"]),
    "no parquet item": ("a.parquet", parquet(user=["a"], timestamp=[1]), ["dataset.columns.item", "'timestamp']"]),
    "two users": ("a.csv", b"user,userId,item,timestamp\n1,1,2,3\n", ["several", "userId", "dataset.columns.user"]),
    "no user id": ("a.csv", HEADER + b"a,b,1\n,b,2\n", ["row 3", "user is missing"]),
    "empty item id": ("a.csv", b'reviewerID,asin,time\na,b,1\na,"",2\n', ["row 3", "asin is missing"]),
    "blank line inside": ("a.csv", HEADER + b"a,b,1\n\na,b,2\n", ["row 3", "user is missing"]),
    "no header row": ("a.csv", b"A1V6B6TNIC10QE,B00ABCDEFG,5.0,1\na,b,5.0,x\n", ["row 2", "timestamp 'x'"]),
    "null parquet id": ("a.parquet", parquet(user=["a", None], item=["b", "c"], timestamp=[1, 2]), ["row 2", "user"]),
    "date": ("a.csv", HEADER + b"a,b,1\na,b,2014-07-01\n", ["row 3", "timestamp '2014-07-01'"]),
    "long value": ("a.csv", HEADER + b'a,b,"x\n' + b"y" * 9999 + b'"\n', ["row 2", r"'x\nyyy"]),
    "parquet nan": ("a.parquet", parquet(user=["a"], item=["b"], timestamp=[float("inf")]), ["row 1", "inf"]),
    "parquet list": ("a.parquet", parquet(user=[[1]], item=["b"], timestamp=[1]), ["'user'", "List"]),
    "parquet bool": ("a.parquet", parquet(user=["a"], item=["b"], timestamp=[True]), ["'timestamp'", "Boolean"]),
    "user alone": ("a.txt", b"1 2 3\n\n2\n", ["row 3", "item is missing"]),
    "extension": ("a.xlsx", b"PK", [".csv", ".inter", ".parquet", ".gz"]),
    "packed parquet": ("a.parquet.gz", gzip.compress(b"PAR1"), ["unknown extension"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_of_one_line(tmp_path: Path, mistake: str) -> None:
    name, content, parts = MISTAKES[mistake]
    with pytest.raises(InputError) as caught:
        read_log(write(tmp_path, name, content))
    message = str(caught.value)
    assert (len(message.splitlines()), message.startswith(str(tmp_path / name))) == (1, True)
    said = message.removeprefix(str(tmp_path / name))
    assert len(said) < 400
    assert [part for part in parts if part not in said] == []


@pytest.mark.parametrize("read", [read_log, sha256])
def test_a_file_that_cannot_be_opened_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"absent\.csv: No such file"):
        read(tmp_path / "absent.csv")
    with pytest.raises(InputError, match=r"folder: holds no files"):
        read(tmp_path / "folder")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"locked\.csv: Permission denied"):
        read(tmp_path / "locked.csv")


def test_wrong_column_names_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no user column \['who'\]; set dataset\.columns\.user to one of \['user'"):
        read_log(write(tmp_path, "log.csv", HEADER + b"a,b,1\n"), Columns(user="who"))
    with pytest.raises(InputError, match=r"log\.txt: .* dataset\.columns"):
        read_log(write(tmp_path, "log.txt", b"1 2\n"), Columns(user="user"))


@settings(max_examples=150, deadline=None)
@given(name=FUZZED, noise=st.binary(max_size=40), at=st.integers(0, 400), whole=st.booleans())
def test_reading_raises_only_input_errors(
    tmp_path_factory: pytest.TempPathFactory, name: str, noise: bytes, at: int, whole: bool
) -> None:
    good = GOOD if name == "log.parquet" else compress(TEXTS.get(name, b"u i j\n" * 50), name)
    rest = b"" if name == "log.parquet" else good[at + len(noise) :]  # polars aborts the process at some damaged pages
    path = write(tmp_path_factory.getbasetemp(), name, noise if whole else good[:at] + noise + rest)
    message, log = str(path), None
    try:
        log = read_log(path)
    except InputError as error:
        message = str(error)
    assert str(path) in message
    assert len(message.splitlines()) == 1
    assert log is None or (log.height and log.null_count().row(0) == (0, 0, 0))
