"""Files of recommendations, written batch by batch."""

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
    file_format: TableFormat,
    k: int,
    unseen: bool,
    batch_size: int,
    titles: pl.Series | None,
) -> Path:
    """Write the best items of each person to a file.

    Its columns are ``user``, ``rank`` from 1, ``item``, ``score`` and, if titles are given, ``title``. The best item of
    a person comes first.

    Args:
        recommender: the trained model.
        people: the people to recommend to.
        folder: the folder of the file, which is called ``recommendations`` with the format as its suffix.
        file_format: parquet, csv or jsonl.
        k: the largest number of items for each person.
        unseen: whether to leave out the items of a person's history.
        batch_size: the number of people in a batch.
        titles: the titles of the items, in the order of their numbers; None leaves out the column.

    Returns:
        The file. It has its name only once it is complete.

    Raises:
        InputError: the operating system refuses to write, such as to a full disk.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{NAME}.{file_format}"
    # An error deletes the temporary folder and the partial file in it.
    with writing(folder), TemporaryDirectory(prefix=f".{NAME}", dir=folder) as partial:
        rows = recommended_rows(recommender, people, k=k, unseen=unseen, batch_size=batch_size, titles=titles)
        WRITERS[file_format](rows, Path(partial) / final.name)
        (Path(partial) / final.name).replace(final)
    return final


def recommended_rows(
    recommender: Recommender, people: People, k: int, unseen: bool, batch_size: int, titles: pl.Series | None
) -> Iterable[pl.DataFrame]:
    """Yield the rows of one batch of people after the other."""
    names = {"item": pl.Series(recommender.item_ids)} | ({} if titles is None else {"title": titles})
    for first in track(range(0, len(people.ids), batch_size), "recommending", transient=True):
        ids, users, items, offsets, times = people.part(first, batch_size)
        numbers, scores = recommender.top(items, offsets, users, k=k, unseen=unseen, times=times)
        count, width = numbers.shape
        rows = pl.DataFrame(
            {
                "user": ids.gather(np.repeat(np.arange(count), width)),
                "rank": np.tile(np.arange(1, width + 1, dtype=np.int32), count),
                "number": numbers.flatten().numpy(),
                "score": scores.flatten().numpy(),
            }
        ).filter(pl.col("number") > 0)
        columns = [values.gather(rows["number"] - 1).alias(name) for name, values in names.items()]
        yield rows.with_columns(columns).select("user", "rank", "item", "score", *list(names)[1:])


def write_parquet(rows: Iterable[pl.DataFrame], path: Path) -> None:
    """Write a Parquet file for each batch, and stream them into one file."""
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
    """Write a JSON object for each row, a line each."""
    with path.open("wb") as file:
        for frame in rows:
            frame.write_ndjson(file)


WRITERS: dict[TableFormat, Callable[[Iterable[pl.DataFrame], Path], None]] = {
    "parquet": write_parquet,
    "csv": write_csv,
    "jsonl": write_json_lines,
}
