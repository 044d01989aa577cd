"""The same log in every format, and the writers of the formats."""

import csv
import gzip
import io
import json
from pathlib import Path

import polars as pl
from hypothesis import strategies as st

ROWS = [("0001", "B00ABC", 30), ("1e5", "007", 10), ("0001", "NA", 20), ('ü "q"', "x, y", -5), ("1e5", "007", 10)]


def delimited(rows: list[tuple], header: list[str] | None, separator: str = ",") -> bytes:
    """Return the bytes of delimited text."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows([header, *rows] if header else rows)
    return text.getvalue().encode()


def json_lines(rows: list[tuple], keys: list[str], **extra: object) -> bytes:
    """Return the bytes of JSON lines, with extra keys in each."""
    return "".join(json.dumps(dict(zip(keys, row, strict=True)) | extra) + "\n" for row in rows).encode()


def parquet(**columns: list | pl.Series) -> bytes:
    """Return the bytes of a Parquet file."""
    pl.DataFrame(columns).write_parquet(file := io.BytesIO())
    return file.getvalue()


def compress(content: bytes, name: str) -> bytes:
    """Compress by the extension of a name. polars is the only zstd writer among the dependencies."""
    if name.endswith(".zst"):
        lines = pl.DataFrame({"": content.decode().removesuffix("\n").split("\n")})
        lines.write_csv(file := io.BytesIO(), include_header=False, quote_style="never", compression="zstd")
        return file.getvalue()
    return gzip.compress(content) if name.endswith(".gz") else content


def write(folder: Path, name: str, content: bytes) -> Path:
    """Write a file and return its path."""
    (folder / name).write_bytes(content)
    return folder / name


WIDE = [(f"line one\nline two, {user}", item, 5.0, user, time) for user, item, time in ROWS]
RATED = [(user, item, 4.5, time) for user, item, time in ROWS]
TEXTS = {
    "log.csv": delimited(WIDE, ["review", "item", "rating", "user", "timestamp"]),
    "log.tsv": delimited(WIDE, ["review", "itemId", "rating", "userId", "time"], "\t"),
    "log.inter": delimited(RATED, ["user_id:token", "item_id:token", "rating:float", "timestamp:float"], "\t"),
    "log.jsonl": json_lines(ROWS, ["user_id", "item_id", "timestamp"], row=1, line=[{"deep": "line\ntwo"}]),
    "log.ndjson": json_lines(ROWS, ["user", "item", "timestamp"]),
    "reviews_Toys_5.json": json_lines(ROWS, ["reviewerID", "asin", "unixReviewTime"], reviewTime="x", overall=5.0),
    "ratings_small.CSV": delimited(RATED, ["userId", "movieId", "rating", "timestamp"]),
}
HEADER = b"user,item,timestamp\n"
GOOD = parquet(user=["a"], item=["b"], timestamp=[1])
FUZZED = st.sampled_from([*TEXTS, "log.csv.gz", "log.txt", "log.txt.zst", "log.jsonl.gz", "log.parquet"])
