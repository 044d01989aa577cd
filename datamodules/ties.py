"""Ties, the interactions of a user at the same time: their order, and their share of the held-out items."""

import numpy as np
from jaxtyping import Bool

from adamct.batch import HeldOutStatistics
from adamct.randomness import Stream, numpy_generator
from datamodules.preprocessing import Interactions
from datamodules.splits import HeldOut, Split


def shuffle_ties(interactions: Interactions, seed: int) -> Interactions:
    """Shuffle each user's interactions of the same time. The seed determines their order."""
    tied = tied_with_previous(interactions)
    in_tie = tied | np.append(tied[1:], False)
    rows = np.flatnonzero(in_tie)
    tie = np.cumsum(~tied)[rows]
    order = np.lexsort((numpy_generator(seed, Stream.SHUFFLED_TIES).random(len(rows)), tie))
    items = np.array(interactions.items)  # a copy: the array may be a file that other processes map
    items[rows] = interactions.items[rows[order]]
    return interactions._replace(items=items)


def tied_with_previous(interactions: Interactions) -> Bool[np.ndarray, " T"]:
    """Return for each interaction whether its user's previous interaction has the same time."""
    tied = np.append(False, interactions.times[1:] == interactions.times[:-1])
    tied[interactions.offsets[:-1]] = False
    return tied


def held_out_statistics(interactions: Interactions, split: Split, has_times: bool) -> HeldOutStatistics:
    """Count the held-out items, and measure the share that has the time of the user's previous item.

    Args:
        interactions: the sequences.
        split: the split of the sequences.
        has_times: whether the times are real times of the log, not only an order.
    """

    def tied_share(part: HeldOut) -> float | None:
        times, index = interactions.times, part.target_index
        return float(np.mean(times[index] == times[index - 1])) if has_times else None

    return HeldOutStatistics(
        validated_users=len(split.validation.user),
        tested_users=len(split.test.user),
        validation_tied=tied_share(split.validation),
        test_tied=tied_share(split.test),
        validation_from=split.validation_from,
        test_from=split.test_from,
    )
