"""What a dataset tells: a model once in a `DataSpec` and at every step in a `Batch`, its users in `Statistics`.

Axes, here and in every signature of the project: B batch, N length, D hidden, H heads, V items with the padding
row, C candidates, K cutoffs, U users, M training pairs.

All are NamedTuples: they pass through Lightning's device transfer as they are, and Hydra leaves them alone.
"""

from typing import NamedTuple

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
    """Likewise of test items."""
    validation_from: int | float | None
    """The time from which on items are held out, in the log's unit; None if the split is not by time."""
    test_from: int | float | None
    """Likewise to test."""


class Batch(NamedTuple):
    """B histories, right-padded with 0 to N, the longest history in *this* batch (at most ``max_len``)."""

    user: Int[Tensor, " B"]
    item_seq: Int[Tensor, "B N"]
    seq_len: Int[Tensor, " B"]
    target: Int[Tensor, " B"]
    negatives: Int[Tensor, "B C"] | None = None
    """Evaluation only: sampled items the target is ranked against."""
