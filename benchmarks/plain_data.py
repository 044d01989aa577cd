"""Data preparation in plain Python, and a script that starts with it; this imports nothing of the project."""

import sys
from collections import Counter
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


def prepare(path: Path, min_user: int, min_item: int, max_len: int) -> tuple[int, TensorDataset]:
    """Read a file of sequences, take its k-core, number users and items, pad every training prefix, in plain Python.

    Returns:
        The number of interactions that are left, and each example's history, its length, and its target.
    """
    sequences = {
        user: items for user, *items in (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    }
    while True:
        counts = Counter(item for items in sequences.values() for item in items)
        kept = {user: [item for item in items if counts[item] >= min_item] for user, items in sequences.items()}
        kept = {user: items for user, items in kept.items() if len(items) >= min_user}
        if sum(map(len, kept.values())) == sum(map(len, sequences.values())):
            break
        sequences = kept
    ids = {
        item: number for number, item in enumerate(dict.fromkeys(i for items in sequences.values() for i in items), 1)
    }
    examples = []
    for items in sequences.values():
        numbers = [ids[item] for item in items]
        for end in range(1, len(numbers) - 2):
            history = numbers[max(0, end - max_len) : end]
            examples.append((history + [0] * (max_len - len(history)), len(history), numbers[end]))
    columns = (torch.tensor(column) for column in zip(*examples, strict=True))
    return sum(map(len, sequences.values())), TensorDataset(*columns)


if __name__ == "__main__":
    pl.seed_everything(0, verbose=False)
    file, *numbers = sys.argv[1:]
    min_user, min_item, max_len, batch_size = map(int, numbers)
    _, examples = prepare(Path(file), min_user, min_item, max_len)
    next(iter(DataLoader(examples, batch_size, shuffle=True)))
