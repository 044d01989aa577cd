"""The items a target is ranked against under the sampled protocol."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from adamct.errors import require
from adamct.randomness import Stream, numpy_generator
from adamct.values import Checked, PositiveInt, Seed
from datamodules.splits import HeldOut

ROWS = 2**16
"""Users looked at together, so that little memory is needed beside the negatives themselves."""

LEAST_ACCEPTED = 1 / 16
"""The share of random items that can be a row's last negative; below it negatives are drawn from what is left."""


class UniformNegatives(Checked):
    """Distinct items drawn uniformly for each user, the same for every epoch and model of one seed.

    Args:
        count: negatives a user.
        exclude: ``seen`` never draws an item of the user's own (the paper's text); ``target`` only spares the target
            (the released code). On Beauty the choice moves NDCG@10 by less than .001.
        seed: what the draw depends on, together with the dataset.
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
        """Negatives for each held-out item; another stream gives others.

        Raises:
            InputError: an item count too small for that many distinct negatives.
        """
        excluded = self._excluded(items, offsets, num_items, held_out)
        count, width = len(held_out.user), num_items + 1
        available = num_items - np.bincount(excluded // width, minlength=count)
        fewest = int(available.min())
        require(
            self.count <= fewest,
            f"dataset.negatives.count={self.count}: only {fewest} of {num_items} items can be negatives of the user "
            "with the most items; lower it",
        )
        generator = numpy_generator(self.seed, stream)
        negatives = generator.integers(1, width, (count, self.count), dtype=np.int32)
        scarce = available - self.count + 1 < LEAST_ACCEPTED * num_items
        replace_refused(negatives, np.flatnonzero(~scarce), excluded, num_items, generator)
        for row in np.flatnonzero(scarce):
            first, last = np.searchsorted(excluded, (row * width, (row + 1) * width))
            allowed = np.delete(np.arange(width), np.append(0, excluded[first:last] - row * width))
            negatives[row] = generator.choice(allowed, self.count, replace=False)
        return negatives

    def _excluded(
        self, items: Int[np.ndarray, " T"], offsets: Int[np.ndarray, " bounds"], num_items: int, held_out: HeldOut
    ) -> Int[np.ndarray, " X"]:
        """Return the keys of what must not be drawn, ascending and distinct; see `to_draw_again`."""
        count = len(held_out.user)
        if self.exclude == "target":
            return np.arange(count) * (num_items + 1) + items[held_out.target_at]
        row = np.full(len(offsets) - 1, -1)
        row[held_out.user] = np.arange(count)
        owner = np.repeat(row, np.diff(offsets))
        keys = np.sort((owner * (num_items + 1) + items)[owner >= 0])
        return keys[np.diff(keys, prepend=-1) > 0]


def replace_refused(
    negatives: Int[np.ndarray, "M C"],
    pending: Int[np.ndarray, " R"],
    excluded: Int[np.ndarray, " X"],
    num_items: int,
    generator: np.random.Generator,
) -> None:
    """Draw again, in place and until none is left, the items that equal an earlier one of their row or are excluded.

    Args:
        negatives: random items.
        pending: the rows that are looked at, ascending.
        excluded: keys, ascending and distinct; see `to_draw_again`.
        num_items: how many items there are.
        generator: draws them.
    """
    while len(pending):
        again = []
        for some in np.split(pending, range(ROWS, len(pending), ROWS)):
            row_key = some * (num_items + 1)
            first, last = np.searchsorted(excluded, (row_key[0], row_key[-1] + num_items + 1))
            refused = to_draw_again(negatives[some], row_key, excluded[first:last])
            row, column = refused.nonzero()
            again.append((some[row], column))
        row, column = map(np.concatenate, zip(*again, strict=True))
        negatives[row, column] = generator.integers(1, num_items + 1, len(row), dtype=np.int32)
        pending = np.unique(row)


def to_draw_again(
    rows: Int[np.ndarray, "R C"], row_key: Int[np.ndarray, " R"], excluded: Int[np.ndarray, " X"]
) -> Bool[np.ndarray, "R C"]:
    """Which entries equal an earlier entry of their row, or are excluded.

    Args:
        rows: item ids.
        row_key: ascending; the key of an item is its row's and its id together.
        excluded: keys, ascending and distinct.
    """
    # NumPy sorts numbers many times faster than it says their order, so each carries its column along; and looks the
    # few excluded keys up among those drawn faster than the other way round.
    count = rows.shape[1]
    item, column = np.divmod(np.sort(rows.astype(np.int64) * count + np.arange(count), axis=1), count)
    again = np.zeros(rows.shape, dtype=bool)
    again[:, 1:] = item[:, 1:] == item[:, :-1]
    keys = (row_key[:, None] + item).ravel()
    place = np.searchsorted(keys, excluded)  # the first of equal ones; the others are refused as such
    place = place[place < len(keys)]
    again.ravel()[place[keys[place] == excluded[: len(place)]]] = True
    refused = np.zeros_like(again)
    row, at = again.nonzero()
    refused[row, column[row, at]] = True
    return refused
