"""What of the users' sequences is trained on, and which items are held out to validate and to test."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from adamct.errors import InputError, require
from datamodules.preprocessing import Interactions


class HeldOut(NamedTuple):
    """M items to predict, at most one of each user, from all that this user did before."""

    user: Int[np.ndarray, " M"]
    """Ascending."""
    target_at: Int[np.ndarray, " M"]
    """Where the item stands among all items."""


class History(NamedTuple):
    """What the users of M held-out items had before, end to end."""

    items: Int[np.ndarray, " P"]
    """Distinct within a user, and never the held-out item."""
    bounds: Int[np.ndarray, " bounds"]
    """The items of place m are ``items[bounds[m] : bounds[m + 1]]``."""


class Split(NamedTuple):
    """The parts of `Interactions`."""

    train_end: Int[np.ndarray, " U"]
    """Where each user's training part ends, and possibly begins."""
    validation: HeldOut
    test: HeldOut


class Splitter(ABC):
    """A way to split."""

    needs_times: bool
    """Whether the times themselves matter and not only the order they give."""

    @abstractmethod
    def split(self, interactions: Interactions) -> Split:
        """The parts of some sequences."""


class LeaveOneOut(Splitter):
    """Each user's last item is the test, the one before validation, the rest training: the paper's (Section 4.1.1)."""

    needs_times = False

    def split(self, interactions: Interactions) -> Split:
        """The parts of some sequences.

        Raises:
            InputError: a user has fewer than 3 items.
        """
        ends, lengths = interactions.offsets[1:], np.diff(interactions.offsets)
        if lengths.min() < 3:
            user = int(lengths.argmin())
            raise InputError(
                f"user {interactions.user_ids[user]!r} has {lengths[user]} interactions, leave-one-out needs 3; raise "
                "dataset.min_user to 3 or more"
            )
        users = np.arange(len(ends))
        return Split(ends - 2, HeldOut(users, ends - 2), HeldOut(users, ends - 1))


class GlobalTime(Splitter):
    """Nothing that is trained on is later than what is predicted, of whatever user.

    Trained on is what was before the first time. Each user's first item from then on, but before the second time, is to
    validate, and the first from the second time on to test, for users who have an earlier item.

    Args:
        validation_from: the first time, in the log's unit.
        test_from: the second.
    """

    needs_times = True

    def __init__(self, validation_from: int | float, test_from: int | float):
        require(
            validation_from < test_from,
            f"dataset.split.validation_from={validation_from}: must be before dataset.split.test_from={test_from}",
        )
        self.validation_from = validation_from
        self.test_from = test_from

    def split(self, interactions: Interactions) -> Split:
        """The parts of some sequences.

        Raises:
            InputError: nobody can be validated, or nobody tested.
        """
        train_end = first_from(self.validation_from, interactions)
        validation, test = (held_out(at, interactions) for at in (train_end, first_from(self.test_from, interactions)))
        in_time = interactions.times[validation.target_at] < self.test_from
        split = Split(train_end, HeldOut(validation.user[in_time], validation.target_at[in_time]), test)
        for part, key in ((split.validation, "validation_from"), (split.test, "test_from")):
            require(
                len(part.user) > 0,
                f"dataset.split.{key}={getattr(self, key)}: no user has an item from then on and one before; the log "
                f"goes from {interactions.times.min()} to {interactions.times.max()}",
            )
        return split


def seen_before(held_out: HeldOut, interactions: Interactions) -> History:
    """List what the users had before their held-out items: all of it, not only the items that a model looks at."""
    items, num_items = interactions.items, len(interactions.item_ids)
    starts = interactions.offsets[held_out.user]
    lengths = held_out.target_at - starts
    row = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(row)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    keys = np.sort(row * (num_items + 1) + items[place])
    keys = keys[np.diff(keys, prepend=-1) > 0]
    row, item = np.divmod(keys, num_items + 1)
    others = item != items[held_out.target_at][row]
    counts = np.bincount(row[others], minlength=len(lengths))
    return History(item[others].astype(np.int32), np.append(0, np.cumsum(counts)))


def first_from(time: int | float, interactions: Interactions) -> Int[np.ndarray, " U"]:
    """Where each user's first item from a time on stands, or would stand."""
    offsets = interactions.offsets
    earlier = np.concatenate(([0], np.cumsum(interactions.times < time)))
    return offsets[:-1] + np.diff(earlier[offsets])


def held_out(at: Int[np.ndarray, " U"], interactions: Interactions) -> HeldOut:
    """Those of some places, one of each user, where there is an item and one before it."""
    starts, ends = interactions.offsets[:-1], interactions.offsets[1:]
    users = np.flatnonzero((starts < at) & (at < ends))
    return HeldOut(users, at[users])
