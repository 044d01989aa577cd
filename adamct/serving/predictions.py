"""Recommendations as a file, written while they are made."""

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from rich.progress import track

from adamct.batch import People
from adamct.errors import writing
from adamct.serving.recommender import Recommender
from adamct.values import TableFormat

NAME = "recommendations"


def write_recommendations(
    recommender: Recommender,
    people: People,
    folder: Path,
    form: TableFormat,
    k: int,
    unseen: bool,
    batch_size: int,
    titles: pl.Series | None,
) -> Path:
    """Write a row for each person and item, the best first: ``user``, ``rank`` from 1, ``item``, ``score``, ``title``.

    Args:
        recommender: what recommends.
        people: to whom.
        folder: where the file goes, of the name ``recommendations`` and the form's ending.
        form: parquet, csv or jsonl.
        k: items for each.
        unseen: whether to leave out what a person has had.
        batch_size: people at a time.
        titles: of the items, in the order of their numbers; None leaves that column out.

    Returns:
        The file, which appears when it is whole.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{NAME}.{form}"
    # The temporary folder goes with all in it, however this ends.
    with writing(folder), TemporaryDirectory(prefix=f".{NAME}", dir=folder) as partial:
        FORMS[form](frames(recommender, people, k, unseen, batch_size, titles), Path(partial) / final.name)
        (Path(partial) / final.name).replace(final)
    return final


def frames(
    recommender: Recommender, people: People, k: int, unseen: bool, batch_size: int, titles: pl.Series | None
) -> Iterable[pl.DataFrame]:
    """The rows of one batch of people after the other."""
    named = {"item": pl.Series(recommender.item_ids)} | ({} if titles is None else {"title": titles})
    for first in track(range(0, len(people.ids), batch_size), "recommending", transient=True):
        some = people.part(first, batch_size)
        numbers, scores = recommender.top(some.items, some.offsets, some.users, k, unseen)
        count, width = numbers.shape
        rows = pl.DataFrame(
            {
                "user": some.ids.gather(np.repeat(np.arange(count), width)),
                "rank": np.tile(np.arange(1, width + 1, dtype=np.int32), count),
                "number": numbers.flatten().numpy(),
                "score": scores.flatten().numpy(),
            }
        ).filter(pl.col("number") > 0)
        of_items = [values.gather(rows["number"] - 1).alias(name) for name, values in named.items()]
        yield rows.with_columns(of_items).select("user", "rank", "item", "score", *list(named)[1:])


def write_parquet(rows: Iterable[pl.DataFrame], path: Path) -> None:
    """Write a file for each batch, and stream these into one."""
    parts = path.with_name("parts")
    parts.mkdir()
    for number, frame in enumerate(rows):
        frame.write_parquet(parts / f"{number:08}.parquet")
    pl.scan_parquet(parts / "*.parquet").sink_parquet(path)


def write_csv(rows: Iterable[pl.DataFrame], path: Path) -> None:
    """Write a CSV file with a header."""
    with path.open("wb") as file:
        for number, frame in enumerate(rows):
            frame.write_csv(file, include_header=number == 0)


def write_json_lines(rows: Iterable[pl.DataFrame], path: Path) -> None:
    """An object for each row."""
    with path.open("wb") as file:
        for frame in rows:
            frame.write_ndjson(file)


FORMS: dict[TableFormat, Callable[[Iterable[pl.DataFrame], Path], None]] = {
    "parquet": write_parquet,
    "csv": write_csv,
    "jsonl": write_json_lines,
}
