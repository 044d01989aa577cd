"""No content of a log's file and no setting ends in a traceback: each gives a log, or one line that names a file."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adamct.errors import InputError
from datamodules.columns import Columns
from datamodules.sources import read_log
from tests.datamodules.log_files import FUZZED, GOOD, TEXTS, compress

NOISE = st.binary(max_size=12) | st.sampled_from(
    [
        b'"',
        b"\r",
        b"\n",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b",",
        b"\t",
        b"{",
        b"[",
        b"nan",
        b"1e999",
        b"9" * 40,
        b"\\u",
    ]
)
COLUMN = st.sampled_from([None, None, None, "user", "item", "", "x", 1, 2, 3, 4, 9])


@st.composite
def damaged_files(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a file with parts replaced, doubled, left out or cut off, sometimes under another name."""
    name = draw(FUZZED)
    content = GOOD if name == "log.parquet" else compress(TEXTS.get(name, b"u i j\n" * 50), name)
    for _ in range(draw(st.integers(0, 3))):
        start, length = draw(st.integers(0, len(content))), draw(st.integers(0, 30))
        inserted = draw(NOISE | st.just(content[start : start + length] * 2))
        rest = b"" if name == "log.parquet" else content[start + length :]  # see test_reading_raises_only_input_errors
        content = content[:start] + inserted + rest
    if draw(st.integers(0, 5)) == 0:
        content = content[: draw(st.integers(0, len(content)))]
    return (draw(FUZZED) if draw(st.integers(0, 5)) == 0 else name), content


def read_damaged(folder: Path, files: list[tuple[str, bytes]], columns: Columns, min_rating: float | None) -> str:
    """Read files and return the outcome: a log or one line."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, (name, content) in enumerate(files):
        (folder / f"{number}{name}").write_bytes(content)
    try:
        log = read_log(folder, columns, min_rating)
    except InputError as error:
        message = str(error)
        assert len(message.splitlines()) == 1
        assert message.startswith(str(folder))
        return "one line"
    assert log.height
    assert log.null_count().row(0) == (0, 0, 0)
    return "log"


SETTINGS = {
    "files": st.lists(damaged_files(), min_size=1, max_size=2),
    "columns": st.just(Columns()) | st.builds(Columns, COLUMN, COLUMN, COLUMN, COLUMN),
    "min_rating": st.sampled_from([None, None, 0, 4, float("nan")]),
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(**SETTINGS)
def test_damaged_files_give_a_log_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], columns: Columns, min_rating: float | None
) -> None:
    read_damaged(tmp_path_factory.getbasetemp() / "damaged", files, columns, min_rating)


@pytest.mark.slow
def test_many_damaged_files_give_a_log_or_one_line(tmp_path: Path) -> None:
    outcomes = Counter[str]()

    @settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(**SETTINGS)
    def check(files: list[tuple[str, bytes]], columns: Columns, min_rating: float | None) -> None:
        outcomes[read_damaged(tmp_path / "damaged", files, columns, min_rating)] += 1

    check()
    print(dict(outcomes))
    assert min(outcomes["log"], outcomes["one line"]) > 200
