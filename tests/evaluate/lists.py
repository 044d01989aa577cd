"""A small dataset, and lists of its users that hold the items with the highest scores."""

from functools import cache
from pathlib import Path

import polars as pl
import torch
from hydra.utils import instantiate

from adamct.batch import Ranks
from adamct.dataset import Dataset
from adamct.evaluate.counts import Counted
from adamct.evaluate.known import Ranking
from adamct.evaluate.lists import read_lists
from adamct.evaluate.record import rank
from adamct.evaluation.ranking import ranks
from tests.conftest import TINY, composed

NUM_ITEMS, CUTOFFS = 60, (1, 5, 10)


@cache
def dataset() -> Dataset:
    return instantiate(composed(*TINY).dataset)


def scores(levels: int) -> torch.Tensor:
    """Draw the score of each user for each item. Few levels of scores tie often."""
    generator = torch.Generator().manual_seed(levels)
    return torch.randint(levels, (80, NUM_ITEMS + 1), generator=generator).float()


def expected(scores: torch.Tensor) -> Ranks:
    """Rank the test items by the scores of all items, as a run does."""
    columns: list[torch.Tensor] = [torch.zeros(80, dtype=torch.long) for _ in Ranks._fields]
    for histories, candidates in dataset().test_dataloader():
        batch_ranks = ranks(scores[histories.user], histories.target, candidates)
        for column, values in zip(columns, batch_ranks, strict=True):
            column[histories.user] = values
    return Ranks(*columns)


@cache
def seen() -> dict[int, set[int]]:
    """Return the items that each user had before the test item."""
    items: dict[int, set[int]] = {}
    for histories, (_, (item, row, _)) in dataset().test_dataloader():
        for user, one in zip(histories.user[row].tolist(), item.tolist(), strict=True):
            items.setdefault(user, set()).add(one)
    return items


def table(scores: torch.Tensor, k: int = NUM_ITEMS, without_seen: bool = False) -> pl.DataFrame:
    """Return the ``k`` best items of each user, with their scores and places."""
    data, rows, values = dataset(), [], scores.tolist()
    for user in range(80):
        left_out = seen().get(user, set()) if without_seen else set()
        items = [item for item in range(1, NUM_ITEMS + 1) if item not in left_out]
        best = sorted(items, key=lambda item: -values[user][item])[:k]
        rows += [
            (data.user_ids[user], data.item_ids[item - 1], values[user][item], place)
            for place, item in enumerate(best, 1)
        ]
    return pl.DataFrame(rows, ["user", "item", "score", "rank"], orient="row")


def write(table: pl.DataFrame, file: Path) -> Path:
    """Write rows as the suffix of the file says."""
    if file.suffix == ".parquet":
        table.write_parquet(file)
    elif file.suffix == ".jsonl":
        table.write_ndjson(file)
    else:
        table.write_csv(file, separator="\t" if file.suffix == ".tsv" else ",")
    return file


def ranked(file: Path, cutoffs: tuple[int, ...] = CUTOFFS) -> tuple[Counted, dict[str, Ranking]]:
    """Rank the lists of a file."""
    counted, _, rankings = rank(read_lists(file), dataset(), cutoffs, file.parent)
    return counted, {ranking.name: ranking for ranking in rankings}
