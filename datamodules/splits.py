"""The split of the users' sequences into a training part, validation items and test items."""

import re
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Annotated, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int, Num
from pydantic import AfterValidator

from adamct.errors import InputError, require
from adamct.values import Checked
from datamodules.preprocessing import Interactions

Time: TypeAlias = int | float
"""A time in the log's unit."""


class HeldOut(NamedTuple):
    """M items to predict, at most one of each user. The history is all earlier items of the user."""

    user: Int[np.ndarray, " M"]
    """Ascending."""
    target_index: Int[np.ndarray, " M"]
    """The index of the item in `Interactions.items`."""


class History(NamedTuple):
    """The items that the users of M held-out items had before, concatenated."""

    items: Int[np.ndarray, " P"]
    """Distinct within a user, and never the held-out item."""
    bounds: Int[np.ndarray, " bounds"]
    """The items of held-out item m are ``items[bounds[m] : bounds[m + 1]]``."""


class Split(NamedTuple):
    """The parts of `Interactions`."""

    train_end: Int[np.ndarray, " U"]
    """The index where each user's training part ends. It is the user's first index if that part is empty."""
    validation: HeldOut
    test: HeldOut
    validation_from: Time | None = None
    """The time from which items are held out for validation; None if the split is not by time."""
    test_from: Time | None = None
    """The time from which items are held out for the test; None if the split is not by time."""


SHARE = re.compile(r"\d+(\.\d+)?%")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEARS = (EPOCH.replace(year=1980).timestamp(), EPOCH.replace(year=2100).timestamp())
"""The seconds between which the last time of a log must be, so that its unit is known."""
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
"""The units of times since 1970, as parts of a second."""


def share_or_date(text: str) -> str:
    """Return the text if it is a share of the interactions or an ISO date.

    Raises:
        ValueError: the text is neither a share between 0% and 100% nor a date.
    """
    if SHARE.fullmatch(text):
        is_valid = 0 < share_of(text) < 1
    else:
        try:
            is_valid = bool(parsed_date(text))
        except ValueError:
            is_valid = False
    if not is_valid:
        raise ValueError(
            "a share of the interactions between 0% and 100%, such as 80%, or a date, such as 2014-01-01 or "
            "2014-01-01T12:00:00"
        )
    return text


Boundary: TypeAlias = Time | Annotated[str, AfterValidator(share_or_date)]
"""A time in the log's unit, a date, or the share of all interactions that happened before it."""


class Splitter(Checked, ABC):
    """A way to split sequences."""

    needs_times: bool
    """Whether the split depends on the times themselves, not only on their order."""

    @abstractmethod
    def split(self, interactions: Interactions) -> Split:
        """Split sequences into their parts."""


class LeaveOneOut(Splitter):
    """The paper's split (Section 4.1.1): each user's last item for the test, the one before for validation."""

    needs_times = False

    def split(self, interactions: Interactions) -> Split:
        """Split sequences into their parts.

        Raises:
            InputError: a user has fewer than 3 items.
        """
        ends, lengths = interactions.offsets[1:], np.diff(interactions.offsets)
        if lengths.min() < 3:
            user = int(lengths.argmin())
            raise InputError(
                f"user {interactions.user_ids[user]!r} has {lengths[user]} interactions, but leave-one-out needs 3; "
                "give dataset.min_user=3 or more"
            )
        users = np.arange(len(ends))
        return Split(ends - 2, HeldOut(users, ends - 2), HeldOut(users, ends - 1))


class GlobalTime(Splitter):
    """A split at two times, so that no training item of any user is later than a held-out item.

    The training part is all items before ``validation_from``. The validation item is each user's first item from then
    on, if it is before ``test_from``. The test item is each user's first item from ``test_from`` on. A held-out item
    must have an earlier item of the same user.

    Args:
        validation_from: a time in the log's unit, an ISO date or datetime (in UTC, unless it has an offset), or the
            share of all interactions before the time, such as ``80%``; see `time_of`.
        test_from: a later time, in the same form.

    Raises:
        InputError: a value is neither a time, nor a date, nor a share.
    """

    needs_times = True

    def __init__(self, validation_from: Boundary, test_from: Boundary):
        self.validation_from = validation_from
        self.test_from = test_from

    def split(self, interactions: Interactions) -> Split:
        """Split sequences into their parts.

        Raises:
            InputError: the times are in the wrong order, or no user has a validation or test item.
        """
        times = interactions.times
        validation_from, test_from = (time_of(boundary, times) for boundary in (self.validation_from, self.test_from))
        validation_text = describe("validation_from", self.validation_from, validation_from)
        test_text = describe("test_from", self.test_from, test_from)
        require(validation_from < test_from, f"{validation_text}: must be before {test_text}")
        train_end = first_from(validation_from, interactions)
        validation = with_history(train_end, interactions)
        test = with_history(first_from(test_from, interactions), interactions)
        before_test = times[validation.target_index] < test_from
        validation = HeldOut(validation.user[before_test], validation.target_index[before_test])
        for part, boundary in ((validation, validation_text), (test, test_text)):
            require(
                len(part.user) > 0,
                f"{boundary}: no user has an item from then on and one before; the log goes from {times.min()} to "
                f"{times.max()}",
            )
        return Split(train_end, validation, test, validation_from, test_from)


def describe(key: str, boundary: Time | str, time: Time) -> str:
    """Return a boundary's key and value, and its time in the log's unit if the value is a share or a date."""
    text = f"dataset.split.{key}={boundary}"
    return f"{text} ({time})" if isinstance(boundary, str) else text


def share_of(text: str) -> Fraction:
    """Convert a share such as ``80%`` to a number."""
    return Fraction(text.removesuffix("%")) / 100


def parsed_date(text: str) -> datetime:
    """Return the time of an ISO date or datetime, in UTC unless it has an offset.

    Raises:
        ValueError: the text is neither.
    """
    date = datetime.fromisoformat(text)
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date


def time_of(boundary: Time | str, times: Num[np.ndarray, " T"]) -> Time:
    """Return the time of a share of the interactions or of a date; the time itself if it is given.

    The time of a share such as ``80%`` is the latest one before which at most 80 % of the interactions happened.
    Interactions of the same time stay together: those at that time all count as later. A date is converted to the
    log's unit, which its last time tells.

    Raises:
        InputError: the boundary is a date, and the log's unit is none of `UNITS`.
    """
    if not isinstance(boundary, str):
        return boundary
    if SHARE.fullmatch(boundary):
        earlier = int(share_of(boundary) * len(times))
        return np.partition(times, earlier)[earlier].item()
    first, last = times.min(), times.max()
    units = [parts for parts in UNITS.values() if YEARS[0] <= last / parts < YEARS[1]]
    require(
        bool(units),
        f"dataset.split: the date {boundary} needs times in {', '.join(UNITS)} since 1970, but the log goes from "
        f"{first} to {last}; give a number in the log's unit, or a share such as 80%",
    )
    microseconds = (parsed_date(boundary) - EPOCH) // timedelta(microseconds=1)
    time = Fraction(microseconds * units[0], 10**6)
    return int(time) if time.denominator == 1 else float(time)


def seen_before(held_out: HeldOut, interactions: Interactions) -> History:
    """List all items that the users had before their held-out items, not only the ``max_len`` that a model reads."""
    items, num_items = interactions.items, len(interactions.item_ids)
    starts = interactions.offsets[held_out.user]
    lengths = held_out.target_index - starts
    row = np.repeat(np.arange(len(lengths)), lengths)
    index = np.arange(len(row)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    keys = np.sort(row * (num_items + 1) + items[index])
    keys = keys[np.diff(keys, prepend=-1) > 0]
    row, item = np.divmod(keys, num_items + 1)
    others = item != items[held_out.target_index][row]
    counts = np.bincount(row[others], minlength=len(lengths))
    return History(item[others].astype(np.int32), np.append(0, np.cumsum(counts)))


def first_from(time: Time, interactions: Interactions) -> Int[np.ndarray, " U"]:
    """Return the index of each user's first item from a time on; the end of the user's items if there is none."""
    offsets = interactions.offsets
    earlier = np.concatenate(([0], np.cumsum(interactions.times < time)))
    return offsets[:-1] + np.diff(earlier[offsets])


def with_history(index: Int[np.ndarray, " U"], interactions: Interactions) -> HeldOut:
    """Return the items at one index of each user, for the users that have an item there and an earlier one."""
    starts, ends = interactions.offsets[:-1], interactions.offsets[1:]
    users = np.flatnonzero((starts < index) & (index < ends))
    return HeldOut(users, index[users])
