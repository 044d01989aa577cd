"""What of the users' sequences is trained on, and which items are held out to validate and to test."""

import re
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Annotated, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int, Num
from pydantic import AfterValidator

from adamct.errors import InputError, require
from adamct.values import Checked
from datamodules.preprocessing import Interactions

Time: TypeAlias = int | float
"""In the log's unit."""


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
    validation_from: Time | None = None
    """The time from which on items are held out to validate; None where the split is not by time."""
    test_from: Time | None = None
    """The time from which on items are held out to test; None where the split is not by time."""


SHARE = re.compile(r"\d+(\.\d+)?%")


def share(text: str) -> str:
    """Return a share of the interactions as it is written.

    Raises:
        ValueError: the text is no share, or a share of none or all.
    """
    if not (SHARE.fullmatch(text) and 0 < share_of(text) < 1):
        raise ValueError("a share of the interactions between 0% and 100%, such as 80%")
    return text


Boundary: TypeAlias = Time | Annotated[str, AfterValidator(share)]
"""A time in the log's unit, or the share of all interactions before it."""


class Splitter(Checked, ABC):
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
        validation_from: the first time, in the log's unit, or the share of all interactions that happened before it,
            such as ``80%``; see `time_of`.
        test_from: the second, in the same way.

    Raises:
        InputError: one of them is neither a time nor a share.
    """

    needs_times = True

    def __init__(self, validation_from: Boundary, test_from: Boundary):
        self.validation_from = validation_from
        self.test_from = test_from

    def split(self, interactions: Interactions) -> Split:
        """Split some sequences.

        Raises:
            InputError: the times are in the wrong order, or no user can be validated or tested.
        """
        times = interactions.times
        first, second = (time_of(boundary, times) for boundary in (self.validation_from, self.test_from))
        before = describe("validation_from", self.validation_from, first)
        after = describe("test_from", self.test_from, second)
        require(first < second, f"{before}: must be before {after}")
        train_end = first_from(first, interactions)
        validation, test = (held_out(at, interactions) for at in (train_end, first_from(second, interactions)))
        in_time = times[validation.target_at] < second
        validation = HeldOut(validation.user[in_time], validation.target_at[in_time])
        for part, boundary in ((validation, before), (test, after)):
            require(
                len(part.user) > 0,
                f"{boundary}: no user has an item from then on and one before; the log goes from {times.min()} to "
                f"{times.max()}",
            )
        return Split(train_end, validation, test, first, second)


def describe(key: str, boundary: Time | str, time: Time) -> str:
    """Name a boundary by its key, and its time if it was given as a share."""
    text = f"dataset.split.{key}={boundary}"
    return f"{text} ({time})" if isinstance(boundary, str) else text


def share_of(text: str) -> Fraction:
    """Convert a share such as ``80%`` to a number."""
    return Fraction(text.removesuffix("%")) / 100


def time_of(boundary: Time | str, times: Num[np.ndarray, " T"]) -> Time:
    """Return the time that a share of some interactions stands for; a time stands for itself.

    A share such as ``80%`` stands for the latest of the times before which at most 80 % of the interactions happened.
    Interactions of the same time are never divided: those of that very time all count as later.
    """
    if not isinstance(boundary, str):
        return boundary
    earlier = int(share_of(boundary) * len(times))
    return np.partition(times, earlier)[earlier].item()


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


def first_from(time: Time, interactions: Interactions) -> Int[np.ndarray, " U"]:
    """Where each user's first item from a time on stands, or would stand."""
    offsets = interactions.offsets
    earlier = np.concatenate(([0], np.cumsum(interactions.times < time)))
    return offsets[:-1] + np.diff(earlier[offsets])


def held_out(at: Int[np.ndarray, " U"], interactions: Interactions) -> HeldOut:
    """Those of some places, one of each user, where there is an item and one before it."""
    starts, ends = interactions.offsets[:-1], interactions.offsets[1:]
    users = np.flatnonzero((starts < at) & (at < ends))
    return HeldOut(users, at[users])
