"""Small sequences with given times, and the overrides of a run on a small log."""

import numpy as np
import polars as pl

from datamodules.preprocessing import Interactions
from tests.conftest import TINY

Times = list[list[int]]
"""Of each user's items, in order."""
DAY = 86_400
"""The seconds of a day."""
OF_EMBEDDED = ("dataset.num_users", "dataset.process", "dataset.negatives")
SMALL = [
    *(key for key in TINY if not key.startswith(OF_EMBEDDED)),
    "dataset=custom",
    "dataset.min_item=1",
    "dataset.negatives.count=5",
]
"""Overrides for a run of a second on a log in a file."""


def interactions(times: Times) -> Interactions:
    """Return sequences with these times, in which each item occurs once, in ascending order."""
    offsets = np.cumsum([0, *map(len, times)])
    items, every = np.arange(1, offsets[-1] + 1, dtype=np.int32), [time for user in times for time in user]
    ids = (
        pl.Series("id", [f"{kind}{at}" for at in range(count)])
        for kind, count in (("u", len(times)), ("i", offsets[-1]))
    )
    return Interactions(items, offsets, np.array(every), *ids)
