"""Objectives over (queries, item table, targets): the logits of a whole batch are never in memory at once."""

from dataclasses import replace

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

try:
    from torch.nn import LinearCrossEntropyOptions  # torch >= 2.13

    CHUNKED = LinearCrossEntropyOptions(batch_chunk_size=128)
except ImportError:
    CHUNKED = None

MOST_LOGITS = 2**29
"""That a GPU is to hold at once, 2 GiB of them, and twice as much for their softmax and gradient."""


def cross_entropy(
    queries: Float[Tensor, "M D"],
    item_table: Float[Tensor, "V D"],
    item_bias: Float[Tensor, " V"] | None,
    targets: Int[Tensor, " M"],
) -> Float[Tensor, ""]:
    """Mean negative log-likelihood of the targets under a softmax over all items (Eq. 20); padding is not a class."""
    table, classes = item_table[1:], targets - 1
    bias = None if item_bias is None else item_bias[1:]
    if CHUNKED is None or (queries.is_cuda and len(queries) * len(table) <= MOST_LOGITS):
        return F.cross_entropy(F.linear(queries, table, bias), classes)
    if queries.is_cuda:
        in_parts = replace(CHUNKED, batch_chunk_size=max(1, MOST_LOGITS // len(table)))
        return F.linear_cross_entropy(queries, table, classes, linear_bias=bias, options=in_parts)
    return F.linear_cross_entropy(queries, table, classes, linear_bias=bias, options=CHUNKED)
