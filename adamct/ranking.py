"""From vectors to scores to ranks: few scores are in memory together, whatever the catalogue's size."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from adamct.batch import Batch

Ranker = Callable[[Batch], tuple[Int[Tensor, " B"], Int[Tensor, " B"]]]
"""Gives `ranks` of the targets of a batch."""

NOT_A_NUMBER = -1
"""The rank of a target whose scores cannot be compared."""

BYTES_AT_ONCE = {"cpu": 2**22, "cuda": 2**29}
"""The scores that are in memory together: 4 MiB, which stay in a processor's cache, or 512 MiB of a GPU."""
FEW_ROWS = 16
"""Fewer users than this at a time, whose scores for all items are in memory, would read the item table too often."""


def rank_targets(
    queries: Float[Tensor, "B D"],
    item_table: Float[Tensor, "V D"],
    item_bias: Float[Tensor, " V"] | None,
    target: Int[Tensor, " B"],
    negatives: Int[Tensor, "B C"],
) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"]]:
    """`ranks` under the scores ``queries @ item_table.T + item_bias``, few of which are in memory together."""
    rows, width = chunk_sizes(queries, len(item_table))
    ranked = []
    for query, own, others in zip(queries.split(rows), target.split(rows), negatives.split(rows), strict=True):
        if width < len(item_table):
            ranked.append(ranks_by_blocks(query, item_table, item_bias, own, others, width))
        else:
            ranked.append(ranks(F.linear(query, item_table, item_bias), own, others))
    sampled, full = (torch.cat(column) for column in zip(*ranked, strict=True))
    return sampled, full


def chunk_sizes(queries: Float[Tensor, "B D"], num_items: int) -> tuple[int, int]:
    """Of how many users and items the scores may be in memory together: of all items, unless that leaves few users."""
    at_once = BYTES_AT_ONCE[queries.device.type] // queries.element_size()
    rows = at_once // num_items
    if rows >= FEW_ROWS:
        return rows, num_items
    rows = max(1, math.isqrt(at_once) // 4)
    return rows, min(num_items, at_once // rows)


def ranks_by_blocks(
    queries: Float[Tensor, "B D"],
    item_table: Float[Tensor, "V D"],
    item_bias: Float[Tensor, " V"] | None,
    target: Int[Tensor, " B"],
    negatives: Int[Tensor, "B C"],
    width: int,
) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"]]:
    """`ranks` of some users by blocks of ``width`` items, which are at least as many as the users.

    The scores that targets are compared by come from a product of the same shape as a block, so that they are rounded
    alike; a target's own place in its block is not looked at.
    """
    padded = target.repeat(-(-width // len(target)))[:width]
    bias = None if item_bias is None else item_bias[padded]
    target_score = F.linear(queries, item_table[padded], bias).diagonal()[:, None]  # (B, 1)
    negative_score = torch.empty_like(negatives, dtype=queries.dtype)
    not_lower, total = queries.new_zeros(len(queries)), queries.new_zeros(len(queries))
    for begin in range(1, len(item_table), width):
        first = min(begin, len(item_table) - width)  # the last block is as wide, and begins within the one before
        bias = None if item_bias is None else item_bias[first : first + width]
        scores = F.linear(queries, item_table[first : first + width], bias)[:, begin - first :]
        total += scores.sum(1)
        negative_score = look_up(scores, negatives - begin, negative_score)
        counted = torch.ge(scores, target_score, out=torch.empty_like(scores))
        own = look_up(counted, target[:, None] - begin, torch.zeros_like(target_score))
        not_lower += counted.sum(1) - own[:, 0]  # exactly below 2^24 items
    sampled = 1 + (negative_score >= target_score).sum(1)
    comparable = ~total.isnan()
    return sampled.where(comparable, NOT_A_NUMBER), (1 + not_lower.long()).where(comparable, NOT_A_NUMBER)


def look_up(
    block: Float[Tensor, "B W"], column: Int[Tensor, "B C"], otherwise: Float[Tensor, "B C"]
) -> Float[Tensor, "B C"]:
    """The entries of a block in some columns, and others where a column is not of this block."""
    inside = (column >= 0) & (column < block.shape[1])
    return block.gather(1, column.clamp(0, block.shape[1] - 1)).where(inside, otherwise)


def ranks(
    scores: Float[Tensor, "B V"], target: Int[Tensor, " B"], negatives: Int[Tensor, "B C"]
) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"]]:
    """Rank each target among its negatives, and among all items but padding.

    A rank is 1 + the candidates scoring higher + the *other* candidates that tie, so a constant model comes last.

    Returns:
        The ranks among the negatives (1 to C + 1) and among all items (1 to V - 1).
    """
    target_score = scores.gather(1, target[:, None])  # (B, 1)
    sampled = 1 + (scores.gather(1, negatives) >= target_score).sum(1)
    # Ones are added up as floats, five times as fast as booleans on a CPU, and exactly below 2^24 items.
    not_lower = torch.ge(scores[:, 1:], target_score, out=scores.new_empty(0, dtype=torch.float))
    full = not_lower.sum(1).long()  # the target itself is the 1
    comparable = ~scores.sum(1).isnan()
    return sampled.where(comparable, NOT_A_NUMBER), full.where(comparable, NOT_A_NUMBER)
