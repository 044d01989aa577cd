"""The rows of a text file whose columns are separated by any text."""

from pathlib import Path

import polars as pl

from adamct.errors import InputError


def has_quotes(separator: str) -> bool:
    """Whether a file with this separator may have values in quotation marks, which polars reads."""
    return len(separator.encode()) == 1


def scan_rows(path: Path, separator: str, n_rows: int | None = None) -> pl.LazyFrame:
    """Return a lazy scan of the columns of a file, as text. A blank line is a row of nulls.

    Args:
        path: the file.
        separator: the text between two columns.
        n_rows: the number of first rows to scan; None scans all.
    """
    if has_quotes(separator):
        return pl.scan_csv(path, separator=separator, has_header=False, infer_schema=False, glob=False, n_rows=n_rows)
    lines = pl.scan_lines(path, name="line", glob=False, n_rows=n_rows)
    lines = lines.select(pl.col("line").str.strip_prefix("\ufeff").str.strip_chars_end("\r"))
    first = lines.head(1).collect()["line"].to_list()
    number = first[0].count(separator) + 1 if first else 1
    blank = pl.col("line") == ""
    values = pl.when(~blank).then(pl.col("line")).str.split_exact(separator, number - 1)
    return lines.select(values.alias("values")).unnest("values")


def require_columns(path: Path, separator: str) -> None:
    """Refuse a file without quotation marks in which a row has more or fewer columns than the first.

    Raises:
        InputError: names the row.
    """
    lines = pl.scan_lines(path, name="line", glob=False, row_index_name="row", row_index_offset=1)
    counts = lines.filter(pl.col("line").str.contains(r"\S")).select(
        "row", count=pl.col("line").str.count_matches(separator, literal=True)
    )
    wrong = counts.filter(pl.col("count") != pl.col("count").first()).head(1).collect()
    for row, count in wrong.rows():
        raise InputError(f"{path}, row {row}: has {count} times {separator!r}, unlike the first row; correct it")
