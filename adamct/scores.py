"""The scores of users for items, computed in blocks, so that a ranking never holds all of them in memory."""

from abc import ABC, abstractmethod

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from torch import Tensor


class Scores(ABC):
    """The scores of B users for V items. Column i is item i, and column 0 is padding.

    Args:
        shape: B and V.
        dtype: the type of a score. It has at least single precision: in half precision many items would tie.
        device: the device of the blocks.
    """

    def __init__(self, shape: tuple[int, int], dtype: torch.dtype, device: torch.device):
        self.num_users, self.num_items = shape
        self.dtype = dtype
        self.device = device

    @abstractmethod
    def rows(self, first: int, last: int) -> "Scores":
        """Return the scores of the users from ``first`` to before ``last``."""

    @abstractmethod
    def block(self, first: int, last: int) -> Float[Tensor, "B W"]:
        """Compute the scores for the items from ``first`` to before ``last``."""

    @abstractmethod
    def for_targets(self, target: Int[Tensor, " B"], width: int) -> Float[Tensor, " B"]:
        """Compute each user's score for its own target, rounded as in a block of ``width`` items.

        A block has at least as many items as there are users.
        """


class VectorScores(Scores):
    """The scores ``queries @ item_table.T + item_bias``.

    Args:
        queries: the vector of each user.
        item_table: the vector of each item.
        item_bias: the bias of each item, None for no bias.
    """

    def __init__(
        self, queries: Float[Tensor, "B D"], item_table: Float[Tensor, "V D"], item_bias: Float[Tensor, " V"] | None
    ):
        self.queries, self.item_table, self.item_bias = in_single_precision(queries, item_table, item_bias)
        super().__init__((len(queries), len(item_table)), self.queries.dtype, queries.device)

    def rows(self, first: int, last: int) -> "VectorScores":
        """Return the scores of some users."""
        return VectorScores(self.queries[first:last], self.item_table, self.item_bias)

    def block(self, first: int, last: int) -> Float[Tensor, "B W"]:
        """Compute the scores for some items."""
        bias = None if self.item_bias is None else self.item_bias[first:last]
        return F.linear(self.queries, self.item_table[first:last], bias)

    def for_targets(self, target: Int[Tensor, " B"], width: int) -> Float[Tensor, " B"]:
        """Compute each user's score for its own target, in a product of the same shape as a block."""
        padded = target.repeat(-(-width // len(target)))[:width]
        bias = None if self.item_bias is None else self.item_bias[padded]
        return F.linear(self.queries, self.item_table[padded], bias).diagonal()


class SparseScores(Scores):
    """The scores ``sparse + weight * shared``, in single precision.

    Args:
        sparse: the scores (B, V) that depend on the user; most are 0.
        weight: the weight of the shared scores for each user.
        shared: a score of each item that all users share.
        device: the device of the blocks. The sparse scores stay on the CPU.
    """

    def __init__(
        self, sparse: csr_array, weight: Float[np.ndarray, " B"], shared: Float[np.ndarray, " V"], device: torch.device
    ):
        super().__init__((len(weight), len(shared)), torch.float32, device)
        self.sparse = csr_array(sparse, dtype=np.float32)
        self.weight = weight.astype(np.float32, copy=False)
        self.shared = shared.astype(np.float32, copy=False)

    def rows(self, first: int, last: int) -> "SparseScores":
        """Return the scores of some users."""
        return SparseScores(self.sparse[first:last], self.weight[first:last], self.shared, self.device)

    def block(self, first: int, last: int) -> Float[Tensor, "B W"]:
        """Compute the scores for some items."""
        dense = self.sparse[:, first:last].toarray()
        dense += self.weight[:, None] * self.shared[first:last]
        return torch.from_numpy(dense).to(self.device)

    def for_targets(self, target: Int[Tensor, " B"], width: int) -> Float[Tensor, " B"]:
        """Compute each user's score for its own target. A score's rounding does not depend on its block."""
        item = target.numpy(force=True)
        ones = np.ones(len(item), np.float32)
        selected = csr_array((ones, item, np.arange(len(item) + 1)), self.sparse.shape)
        own = (self.sparse * selected).sum(1) + self.weight * self.shared[item]
        return torch.from_numpy(own).to(self.device)


def in_single_precision(
    queries: Float[Tensor, "B D"], item_table: Float[Tensor, "V D"], item_bias: Float[Tensor, " V"] | None
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "V D"], Float[Tensor, " V"] | None]:
    """Convert the vectors of scores to the item table's precision, and that to at least single precision."""
    dtype = torch.promote_types(item_table.dtype, torch.float32)
    return queries.to(dtype), item_table.to(dtype), None if item_bias is None else item_bias.to(dtype)
