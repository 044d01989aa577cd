"""A user's interactions of the same time: in which order they are, and how many of the held-out items they affect."""

import numpy as np
from jaxtyping import Bool

from adamct.batch import HeldOutStatistics
from adamct.randomness import Stream, numpy_generator
from datamodules.preprocessing import Interactions
from datamodules.splits import HeldOut, Split


def shuffle_ties(interactions: Interactions, seed: int) -> Interactions:
    """Put each user's interactions of the same time into a random order, which the seed determines."""
    tied = as_late_as_previous(interactions)
    in_group = tied | np.append(tied[1:], False)
    rows = np.flatnonzero(in_group)
    group = np.cumsum(~tied)[rows]
    order = np.lexsort((numpy_generator(seed, Stream.SHUFFLED_TIES).random(len(rows)), group))
    items = np.array(interactions.items)  # a copy: the array may be a file that others map
    items[rows] = interactions.items[rows[order]]
    return interactions._replace(items=items)


def as_late_as_previous(interactions: Interactions) -> Bool[np.ndarray, " T"]:
    """Return for each interaction whether its user's previous one has the same time."""
    tied = np.append(False, interactions.times[1:] == interactions.times[:-1])
    tied[interactions.offsets[:-1]] = False
    return tied


def held_out_statistics(interactions: Interactions, split: Split, has_times: bool) -> HeldOutStatistics:
    """Count the held-out items, and those among them whose user's previous item has the same time.

    Args:
        interactions: the sequences.
        split: their parts.
        has_times: whether the times are those of the log, and not only an order.
    """

    def tied_share(part: HeldOut) -> float | None:
        times, at = interactions.times, part.target_at
        return float(np.mean(times[at] == times[at - 1])) if has_times else None

    return HeldOutStatistics(
        len(split.validation.user),
        len(split.test.user),
        tied_share(split.validation),
        tied_share(split.test),
        split.validation_from,
        split.test_from,
    )
