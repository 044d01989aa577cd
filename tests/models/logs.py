"""Small random logs, and what models without training are built from."""

from collections import Counter

import numpy as np
import torch
from hypothesis import strategies as st

from adamct.batch import Batch, DataSpec, TrainingPart

ITEMS = 6
SEQUENCE = st.lists(st.integers(1, ITEMS), max_size=7)
LOGS = st.lists(SEQUENCE, min_size=1, max_size=8)
"""Training items of users, some of whom have none."""
HISTORIES = st.lists(st.lists(st.integers(1, ITEMS), min_size=1, max_size=9), min_size=1, max_size=4)


def spec_of(log: list[list[int]]) -> DataSpec:
    items = np.array([item for sequence in log for item in sequence], np.int64)
    training = TrainingPart(items, np.cumsum([0, *map(len, log)]))
    counts = torch.bincount(torch.from_numpy(items), minlength=ITEMS + 1).float()
    return DataSpec(ITEMS, len(log), 9, counts, training)


def popularity(log: list[list[int]]) -> list[float]:
    """Return the share of each item, 0 for padding."""
    counts = Counter(item for sequence in log for item in sequence)
    return [counts[item] / max(counts.total(), 1) for item in range(ITEMS + 1)]


def batch_of(histories: list[list[int]]) -> Batch:
    width = max(map(len, histories))
    padded = [history + [0] * (width - len(history)) for history in histories]
    rows = torch.arange(len(histories))
    return Batch(rows, torch.tensor(padded), torch.tensor([len(history) for history in histories]), rows + 1)
