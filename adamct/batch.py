"""The data that datasets, models and rankings exchange.

Axes, here and in every signature of the project: B batch, N length, D hidden, H heads, V items with the padding
row, C negatives, K cutoffs, U users, M training pairs, P pairs of a user and a seen item.

All are NamedTuples: Lightning's device transfer keeps their type, and Hydra does not convert them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int, Real
from torch import Tensor


class TrainingPart(NamedTuple):
    """The items that each user is trained on, oldest first: user u has ``items[offsets[u] : offsets[u + 1]]``."""

    items: Int[np.ndarray, " T"]
    offsets: Int[np.ndarray, " bounds"]

    def users(self) -> Int[np.ndarray, " T"]:
        """Return the user of each item."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


class DataSpec(NamedTuple):
    """The facts of a dataset that a model is built from."""

    num_items: int
    """Items, without padding: ids run from 1 to num_items, and 0 is padding (so V = num_items + 1)."""
    num_users: int
    """Users: ids run from 0 to num_users - 1."""
    max_len: int
    """The number of most recent items that are kept of a history."""
    item_counts: Float[Tensor, " V"]
    """The occurrences of each item in the training part; zeros for a model that is loaded from a checkpoint."""
    training: TrainingPart = TrainingPart(np.empty(0, np.int64), np.zeros(1, np.int64))
    """The sequences that models without training count; without users for a model that is loaded from a checkpoint."""
    has_times: bool = False
    """Whether the data has the time of each interaction, not only their order."""


class Statistics(NamedTuple):
    """A row of the paper's Table 1."""

    interactions: int
    users: int
    items: int
    mean_user_len: float
    mean_item_len: float
    sparsity: float
    """The fraction of empty cells in the user-item matrix. A repeated pair counts as often as it occurs."""


class HeldOutStatistics(NamedTuple):
    """The held-out items: each user has at most one for validation and one for the test."""

    validated_users: int
    tested_users: int
    validation_tied: float | None
    """The share of validation items with the time of the user's previous item; None if the log has no times."""
    test_tied: float | None
    """The same share of test items."""
    validation_from: int | float | None
    """The time from which items are held out, in the log's unit; None if the split is not by time."""
    test_from: int | float | None
    """The time from which items are held out for the test; None if the split is not by time."""


class TestFacts(NamedTuple):
    """Facts about the test item of each user."""

    target_count: Int[np.ndarray, " U"]
    """The number of its occurrences in the training part."""
    history_len: Int[np.ndarray, " U"]
    """The number of items that the user had before it."""


class BatchNeeds(NamedTuple):
    """The batches that a model and its compilation need."""

    pad_to_max_len: bool = False
    """Whether batches are as wide as ``max_len`` rather than as their longest history."""
    all_positions: bool = False
    """Whether the model predicts all items of a history at once. Each user then needs few histories, not all prefixes.
    """
    width_multiple: int = 1
    """The number that the width of a training batch is a multiple of, unless it is ``max_len``."""
    times: bool = False
    """Whether batches hold the times of their histories, if the data has times."""


class Batch(NamedTuple):
    """B histories, right-padded with 0 to N, the longest history in *this* batch (at most ``max_len``)."""

    user: Int[Tensor, " B"]
    item_seq: Int[Tensor, "B N"]
    seq_len: Int[Tensor, " B"]
    target: Int[Tensor, " B"]
    times: Int[Tensor, "B N"] | None = None
    """The time of each item, rounded to the log's unit; None if the histories have no times or the model needs none."""

    def select(self, index: Int[Tensor, " b"] | Sequence[int]) -> "Batch":
        """Return the histories at some indices."""
        times = None if self.times is None else self.times[index]
        return Batch(self.user[index], self.item_seq[index], self.seq_len[index], self.target[index], times)


class Seen(NamedTuple):
    """The distinct items that each of B users had before, concatenated: P pairs of a row and an item."""

    item: Int[Tensor, " P"]
    row: Int[Tensor, " P"]
    """Ascending, from 0 to B - 1."""
    bounds: Int[Tensor, " bounds"]
    """The positions where the items of each row begin and end; always on the CPU, so that a GPU need not wait."""

    def rows(self, first: int, last: int) -> "Seen":
        """Return the items of the rows from ``first`` to before ``last``, renumbered from 0."""
        bounds = self.bounds[first : last + 1]
        selected = slice(int(bounds[0]), int(bounds[-1]))
        return Seen(self.item[selected], self.row[selected] - first, bounds - bounds[0])


class Candidates(NamedTuple):
    """The items that each target is ranked against, besides all items."""

    negatives: Int[Tensor, "B C"]
    """Sampled items, for the ranking among samples."""
    seen: Seen
    """The items that the ranking among unseen items leaves out; never the target."""

    def rows(self, first: int, last: int) -> "Candidates":
        """Return the candidates of the rows from ``first`` to before ``last``."""
        return Candidates(self.negatives[first:last], self.seen.rows(first, last))


class EvaluationBatch(NamedTuple):
    """B histories, and the candidates that their targets are ranked against."""

    histories: Batch
    candidates: Candidates


class Ranks(NamedTuple):
    """The rank of each target in three rankings.

    A rank is 1 + the candidates that score higher + the *other* candidates that tie: a constant model comes last.
    """

    sampled: Int[Tensor, " B"]
    """Among its negatives, from 1 to C + 1."""
    full: Int[Tensor, " B"]
    """Among all items, from 1 to V - 1."""
    full_unseen: Int[Tensor, " B"]
    """Among the items that the user has not had before, and the target itself."""


class People(NamedTuple):
    """P people to recommend to. The history of person p is ``items[offsets[p] : offsets[p + 1]]``."""

    ids: pl.Series
    """Their ids in the log."""
    users: Int[np.ndarray, " P"]
    """Their user numbers in the training data; 0 for people who are not in it."""
    items: Int[np.ndarray, " T"]
    offsets: Int[np.ndarray, " bounds"]
    times: Real[np.ndarray, " T"] | None = None
    """The time of each item, in the unit of the training data; None if the times are unknown."""

    def part(self, first: int, count: int) -> "People":
        """Return at most ``count`` people, beginning with number ``first``."""
        selected, offsets = slice(first, first + count), self.offsets[first : first + count + 1]
        own = slice(offsets[0], offsets[-1])
        times = None if self.times is None else self.times[own]
        return People(self.ids[selected], self.users[selected], self.items[own], offsets - offsets[0], times)
