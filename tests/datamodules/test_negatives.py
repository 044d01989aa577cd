"""Negatives are allowed, distinct, uniform, and the same for every model of one seed."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamct.errors import InputError
from adamct.randomness import Stream, numpy_generator
from datamodules.negatives import UniformNegatives
from datamodules.splits import HeldOut

EXCLUDES: tuple[Literal["seen", "target"], ...] = ("seen", "target")
STREAMS = {1: Stream.TEST_NEGATIVES, 2: Stream.VALIDATION_NEGATIVES}
Ragged = list[list[int]]
HISTORIES = st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=9), min_size=1, max_size=6)


def draw(
    users: Ragged, num_items: int, count: int, exclude: Literal["seen", "target"], seed: int = 0, from_end: int = 1
) -> np.ndarray:
    offsets = np.cumsum([0, *map(len, users)])
    items = np.concatenate(users).astype(np.int32)
    held_out = HeldOut(np.arange(len(users)), offsets[1:] - from_end)
    return UniformNegatives(count, exclude, seed).draw(items, offsets, num_items, held_out, STREAMS[from_end])


@settings(deadline=None, max_examples=60)
@given(HISTORIES, st.integers(1, 5), st.sampled_from(EXCLUDES), st.integers(1, 2), st.integers(0, 9))
def test_negatives_are_distinct_allowed_items(
    users: Ragged, count: int, exclude: Literal["seen", "target"], from_end: int, seed: int
) -> None:
    negatives = draw(users, 14, count, exclude, seed, from_end)
    assert negatives.shape == (len(users), count)
    for user, row in zip(users, negatives.tolist(), strict=True):
        forbidden = set(user) if exclude == "seen" else {user[-from_end]}
        assert len({*row} - forbidden) == count
        assert {*row} <= {*range(1, 15)}


def plain_draw(users: Ragged, num_items: int, count: int, exclude: str, seed: int, from_end: int) -> list[list[int]]:
    """Draw all items, then in rounds those that are excluded or repeat an earlier item of their row.

    Rows whose last item would be rejected too often are not in the rounds. They are drawn at the end, from the allowed
    items.
    """
    generator = numpy_generator(seed, STREAMS[from_end])
    rows = generator.integers(1, num_items + 1, (len(users), count), dtype=np.int32).tolist()
    forbidden = [{*user} if exclude == "seen" else {user[-from_end]} for user in users]

    def refused(user: int, at: int) -> bool:
        return rows[user][at] in forbidden[user] or rows[user][at] in rows[user][:at]

    last = [(num_items - len(items) - count + 1) / num_items for items in forbidden]
    enough = [user for user in range(len(users)) if last[user] >= 1 / 16]
    while again := [(user, at) for user in enough for at in range(count) if refused(user, at)]:
        drawn = generator.integers(1, num_items + 1, len(again), dtype=np.int32).tolist()
        for (user, at), item in zip(again, drawn, strict=True):
            rows[user][at] = item
    for user in sorted({*range(len(users))} - {*enough}):
        rows[user] = generator.choice(
            sorted({*range(1, num_items + 1)} - forbidden[user]), count, replace=False
        ).tolist()
    return rows


@settings(deadline=None, max_examples=60)
@given(HISTORIES, st.integers(1, 5), st.sampled_from(EXCLUDES), st.integers(1, 2), st.integers(0, 9))
def test_the_draw_equals_plain_rejection(
    users: Ragged, count: int, exclude: Literal["seen", "target"], from_end: int, seed: int
) -> None:
    """No user takes the path without rejection: at least 1 of 14 items can be the last."""
    expected = plain_draw(users, 14, count, exclude, seed, from_end)
    assert draw(users, 14, count, exclude, seed, from_end).tolist() == expected


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(1, 40), min_size=3, max_size=80), min_size=1, max_size=6), st.data())
def test_any_available_count_gives_distinct_allowed_items(users: Ragged, data: st.DataObject) -> None:
    exclude = data.draw(st.sampled_from(EXCLUDES))
    num_items = data.draw(st.integers(max(map(max, users)) + 1, 41))
    forbidden = [{*user} if exclude == "seen" else {user[-1]} for user in users]
    count = data.draw(st.integers(1, num_items - max(map(len, forbidden))))
    negatives = draw(users, num_items, count, exclude)
    for row, refused in zip(negatives.tolist(), forbidden, strict=True):
        assert len({*row}) == count
        assert {*row} <= {*range(1, num_items + 1)} - refused
    assert negatives.tolist() == plain_draw(users, num_items, count, exclude, 0, 1)


def test_a_user_with_nearly_all_items_takes_no_longer() -> None:
    """Rejection alone would take hundreds of thousands of rounds."""
    num_items, left = 200_000, [1, 17, 199_999]
    all_but_few = np.setdiff1d(np.arange(1, num_items + 1), left)
    usual = [[1, 2, 3], [4, 5, 6]]
    negatives = draw([usual[0], all_but_few.tolist(), usual[1]], num_items, 3, "seen")
    assert sorted(negatives[1]) == left


@settings(deadline=None, max_examples=60)
@given(HISTORIES, st.integers(1, 5), st.sampled_from(EXCLUDES), st.data())
def test_negatives_of_a_subset_do_not_depend_on_other_users(
    users: Ragged, count: int, exclude: Literal["seen", "target"], data: st.DataObject
) -> None:
    some = sorted(data.draw(st.sets(st.integers(0, len(users) - 1), min_size=1)))
    offsets, items = np.cumsum([0, *map(len, users)]), np.concatenate(users).astype(np.int32)
    held_out = HeldOut(np.array(some), offsets[1:][some] - 1)
    found = UniformNegatives(count, exclude, 0).draw(items, offsets, 14, held_out, STREAMS[1])
    assert np.array_equal(found, draw([users[user] for user in some], 14, count, exclude))


def test_the_number_of_users_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    users = [[user % 7 + 1, user % 5 + 1, user % 3 + 1] for user in range(50)]
    expected = draw(users, 12, 6, "seen")
    monkeypatch.setattr("datamodules.negatives.ROWS_AT_ONCE", 7)
    assert np.array_equal(draw(users, 12, 6, "seen"), expected)


@pytest.mark.parametrize("from_end", [1, 2])
def test_exclude_target_excludes_only_the_target(from_end: int) -> None:
    users = [[1, 2, 3, 4, 5]] * 200
    drawn = {*draw(users, 8, 3, "target", from_end=from_end).flat}
    assert drawn == {*range(1, 9)} - {users[0][-from_end]}


@pytest.mark.parametrize("exclude", EXCLUDES)
def test_negatives_depend_on_seed_and_split(exclude: Literal["seen", "target"]) -> None:
    users = [[user % 20 + 1, user % 20 + 2, user % 20 + 3] for user in range(50)]
    first = draw(users, 40, 5, exclude, seed=7, from_end=1)
    assert np.array_equal(first, draw(users, 40, 5, exclude, seed=7, from_end=1))
    assert not np.array_equal(first, draw(users, 40, 5, exclude, seed=8, from_end=1))
    assert not np.array_equal(first, draw(users, 40, 5, exclude, seed=7, from_end=2))


@pytest.mark.parametrize(
    ("user", "num_items", "exclude", "allowed"),
    [
        ([1, 1, 2, 3], 10, "seen", range(4, 11)),
        ([1, 1, 2, 3], 10, "target", [1, 2, *range(4, 11)]),
        ([*range(1, 80)], 84, "seen", range(80, 85)),  # without rejection: 3 of 84 items can be the last
    ],
)
def test_allowed_items_and_their_sets_are_equally_likely(
    user: list[int], num_items: int, exclude: Literal["seen", "target"], allowed: Sequence[int]
) -> None:
    num_users, count = 8000, 3
    negatives = draw([user] * num_users, num_items, count, exclude)
    outcomes = [(item,) for item in allowed], list(combinations(allowed, count))
    for draws, possible in zip((negatives[:, -1:], np.sort(negatives, 1)), outcomes, strict=True):
        found, counts = np.unique(draws, axis=0, return_counts=True)
        assert found.tolist() == list(map(list, possible))
        chi_square = float(((counts - num_users / len(possible)) ** 2).sum() * len(possible) / num_users)
        freedom = len(possible) - 1
        assert abs(chi_square - freedom) < 3.5 * (2 * freedom) ** 0.5  # its mean and standard deviation


@pytest.mark.parametrize(("exclude", "available"), [("seen", 7), ("target", 9)])
def test_all_available_items_can_be_drawn_but_not_more(exclude: Literal["seen", "target"], available: int) -> None:
    users = [[4, 4, 5, 4], [1, 2, 3], [10, 9, 9, 10, 9]]
    for user, row in zip(users, draw(users, 10, available, exclude), strict=True):
        allowed = {*range(1, 11)} - ({*user} if exclude == "seen" else {user[-1]})
        assert {*row} <= allowed
        assert len({*row}) == available
    with pytest.raises(InputError, match=rf"dataset\.negatives\.count={available + 1}: only {available} of 10 items"):
        draw(users, 10, available + 1, exclude)


@pytest.mark.parametrize(
    ("exclude", "items", "remedy"),
    [
        ("seen", [1, 2, 3], "give dataset.negatives.exclude=target, which excludes only the target, or a log"),
        ("seen", [1, 1, 1], "give a log with more items"),
        ("target", [1, 1, 1], "give a log with more items"),
    ],
)
def test_no_count_below_one_is_recommended(exclude: Literal["seen", "target"], items: list[int], remedy: str) -> None:
    with pytest.raises(InputError, match=f"the user with the most items; {remedy}"):
        draw([items], len({*items}), 1, exclude)


def test_an_unknown_exclude_is_refused() -> None:
    with pytest.raises(InputError, match="exclude=history: must be 'seen' or 'target'"):
        UniformNegatives(1, cast(Any, "history"), 0)
