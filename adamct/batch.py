"""What a dataset tells: a model once in a `DataSpec` and at every step in a `Batch`, its users in `Statistics`.

Axes, here and in every signature of the project: B batch, N length, D hidden, H heads, V items with the padding
row, C negatives, K cutoffs, U users, M training pairs, P pairs of a user and a seen item.

All are NamedTuples: they pass through Lightning's device transfer as they are, and Hydra leaves them alone.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor


class DataSpec(NamedTuple):
    """The facts of a dataset a model is built from."""

    num_items: int
    """Items, without padding: ids run from 1 to num_items, and 0 is padding (so V = num_items + 1)."""
    num_users: int
    """Users: ids run from 0 to num_users - 1."""
    max_len: int
    """Most recent items kept of a history."""
    item_counts: Float[Tensor, " V"]
    """How often each item occurs in the training part."""


class Statistics(NamedTuple):
    """A row of the paper's Table 1."""

    interactions: int
    users: int
    items: int
    mean_user_len: float
    mean_item_len: float
    sparsity: float
    """The fraction of empty cells in the user-item matrix, a repeated pair counted as often as it occurs."""


class HeldOutStatistics(NamedTuple):
    """The items that are held out, at most one of each user to validate and one to test."""

    validated_users: int
    tested_users: int
    validation_tied: float | None
    """The share of validation items whose time is that of the user's previous item; None if the log has no times."""
    test_tied: float | None
    """The same share of test items."""
    validation_from: int | float | None
    """The time from which on items are held out, in the log's unit; None if the split is not by time."""
    test_from: int | float | None
    """The time from which on items are held out to test."""


class TestFacts(NamedTuple):
    """Facts about the test item of each user, beside its rank."""

    target_count: Int[np.ndarray, " U"]
    """The number of its occurrences in the training part."""
    history_len: Int[np.ndarray, " U"]
    """The number of items that the user had before it."""


class Seen(NamedTuple):
    """The distinct items that each of B users had before, end to end: P pairs of a row and an item."""

    item: Int[Tensor, " P"]
    row: Int[Tensor, " P"]
    """Ascending, from 0 to B - 1."""
    bounds: Int[Tensor, " bounds"]
    """The places at which the items of each row begin and end; always on the CPU, so that a GPU need not wait."""

    def rows(self, first: int, last: int) -> "Seen":
        """Return the items of the rows from ``first`` to before ``last``, renumbered from 0."""
        bounds = self.bounds[first : last + 1]
        some = slice(int(bounds[0]), int(bounds[-1]))
        return Seen(self.item[some], self.row[some] - first, bounds - bounds[0])


class Candidates(NamedTuple):
    """The items that the targets of an evaluation batch are ranked against, beside all items."""

    negatives: Int[Tensor, "B C"]
    """Sampled items, for the ranking among samples."""
    seen: Seen
    """The items that the ranking among unseen items leaves out; never the target."""

    def rows(self, first: int, last: int) -> "Candidates":
        """Return those of the rows from ``first`` to before ``last``."""
        return Candidates(self.negatives[first:last], self.seen.rows(first, last))


class Batch(NamedTuple):
    """B histories, right-padded with 0 to N, the longest history in *this* batch (at most ``max_len``)."""

    user: Int[Tensor, " B"]
    item_seq: Int[Tensor, "B N"]
    seq_len: Int[Tensor, " B"]
    target: Int[Tensor, " B"]
    candidates: Candidates | None = None
    """Evaluation only."""
