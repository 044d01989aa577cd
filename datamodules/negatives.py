"""The negatives of the sampled ranking."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from adamct.errors import require
from adamct.randomness import Stream, numpy_generator
from adamct.values import Checked, PositiveInt, Seed
from datamodules.splits import HeldOut

ROWS_AT_ONCE = 2**16
"""Users whose negatives are checked together: few enough to need little memory besides the negatives."""

MIN_ACCEPTED_SHARE = 1 / 16
"""The share of all items that can be a user's last negative. If it is lower, negatives are drawn without rejection."""


class UniformNegatives(Checked):
    """Distinct items drawn uniformly for each user, the same for every epoch and model of one seed.

    Args:
        count: the number of negatives of a user.
        exclude: ``seen`` excludes all items of the user (the paper's text), ``target`` only the target (the released
            code). On Beauty the choice changes NDCG@10 by less than .001.
        seed: determines the draw, together with the dataset.
    """

    def __init__(self, count: PositiveInt, exclude: Literal["seen", "target"], seed: Seed):
        self.count = count
        self.exclude = exclude
        self.seed = seed

    def draw(
        self,
        items: Int[np.ndarray, " T"],
        offsets: Int[np.ndarray, " bounds"],
        num_items: int,
        held_out: HeldOut,
        stream: Stream,
    ) -> Int[np.ndarray, "M C"]:
        """Draw negatives for each held-out item. Each stream gives other negatives.

        Raises:
            InputError: a user has too few items left for that many distinct negatives.
        """
        excluded = self._excluded(items, offsets, num_items, held_out)
        count, width = len(held_out.user), num_items + 1
        available = num_items - np.bincount(excluded // width, minlength=count)
        fewest = int(available.min())
        remedy = f"give {fewest} or less" if fewest else "give a log with more items"
        if not fewest and self.exclude == "seen" and num_items > 1:
            remedy = "give dataset.negatives.exclude=target, which excludes only the target, or a log with more items"
        require(
            self.count <= fewest,
            f"dataset.negatives.count={self.count}: only {fewest} of {num_items} items can be negatives of the user "
            f"with the most items; {remedy}",
        )
        generator = numpy_generator(self.seed, stream)
        negatives = generator.integers(1, width, (count, self.count), dtype=np.int32)
        scarce = available - self.count + 1 < MIN_ACCEPTED_SHARE * num_items
        redraw_rejected(negatives, np.flatnonzero(~scarce), excluded, num_items, generator)
        for row in np.flatnonzero(scarce):
            first, last = np.searchsorted(excluded, (row * width, (row + 1) * width))
            allowed = np.delete(np.arange(width), np.append(0, excluded[first:last] - row * width))
            negatives[row] = generator.choice(allowed, self.count, replace=False)
        return negatives

    def _excluded(
        self, items: Int[np.ndarray, " T"], offsets: Int[np.ndarray, " bounds"], num_items: int, held_out: HeldOut
    ) -> Int[np.ndarray, " X"]:
        """Return the keys of the items that must not be drawn, ascending and distinct; see `rejected`."""
        count = len(held_out.user)
        if self.exclude == "target":
            return np.arange(count) * (num_items + 1) + items[held_out.target_index]
        row = np.full(len(offsets) - 1, -1)
        row[held_out.user] = np.arange(count)
        owner = np.repeat(row, np.diff(offsets))
        keys = np.sort((owner * (num_items + 1) + items)[owner >= 0])
        return keys[np.diff(keys, prepend=-1) > 0]


def redraw_rejected(
    negatives: Int[np.ndarray, "M C"],
    pending: Int[np.ndarray, " R"],
    excluded: Int[np.ndarray, " X"],
    num_items: int,
    generator: np.random.Generator,
) -> None:
    """Draw in place, until none is left, the items that repeat an earlier item of their row or are excluded.

    Args:
        negatives: random items.
        pending: the rows to check, ascending.
        excluded: the keys of excluded items, ascending and distinct; see `rejected`.
        num_items: the number of items.
        generator: draws the items.
    """
    while len(pending):
        places = []
        for rows in np.split(pending, range(ROWS_AT_ONCE, len(pending), ROWS_AT_ONCE)):
            row_key = rows * (num_items + 1)
            first, last = np.searchsorted(excluded, (row_key[0], row_key[-1] + num_items + 1))
            row, column = rejected(negatives[rows], row_key, excluded[first:last]).nonzero()
            places.append((rows[row], column))
        row, column = map(np.concatenate, zip(*places, strict=True))
        negatives[row, column] = generator.integers(1, num_items + 1, len(row), dtype=np.int32)
        pending = np.unique(row)


def rejected(
    rows: Int[np.ndarray, "R C"], row_key: Int[np.ndarray, " R"], excluded: Int[np.ndarray, " X"]
) -> Bool[np.ndarray, "R C"]:
    """Return which entries repeat an earlier entry of their row, or are excluded.

    Args:
        rows: item ids.
        row_key: the key of each row, ascending. The key of an item is the sum of its row's key and its id.
        excluded: the keys of excluded items, ascending and distinct.
    """
    # NumPy's sort is many times faster than its argsort, so each number has its column in its lowest digits. It is
    # also faster to look up the few excluded keys among the drawn ones than the reverse.
    count = rows.shape[1]
    item, column = np.divmod(np.sort(rows.astype(np.int64) * count + np.arange(count), axis=1), count)
    rejected_sorted = np.zeros(rows.shape, dtype=bool)
    rejected_sorted[:, 1:] = item[:, 1:] == item[:, :-1]
    keys = (row_key[:, None] + item).ravel()
    index = np.searchsorted(keys, excluded)  # the first of equal keys; the others are rejected as repeats
    index = index[index < len(keys)]
    rejected_sorted.ravel()[index[keys[index] == excluded[: len(index)]]] = True
    result = np.zeros_like(rejected_sorted)
    row, position = rejected_sorted.nonzero()
    result[row, column[row, position]] = True
    return result
