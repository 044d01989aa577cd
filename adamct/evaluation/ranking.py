"""From vectors to scores to ranks and lists: few scores are in memory together, whatever the catalogue's size."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from adamct.batch import Candidates, Ranks, Seen

NOT_A_NUMBER = -1
"""The rank of a target whose scores cannot be compared."""

BYTES_AT_ONCE = {"cpu": 2**22, "cuda": 2**29}
"""The scores that are in memory together: 4 MiB, which stay in a processor's cache, or 512 MiB of a GPU."""
BYTES_ELSEWHERE = 2**27
"""The same for any other device."""
FEW_ROWS = 16
"""Fewer users than this at a time, whose scores for all items are in memory, would read the item table too often."""


def rank_targets(
    queries: Float[Tensor, "B D"],
    item_table: Float[Tensor, "V D"],
    item_bias: Float[Tensor, " V"] | None,
    target: Int[Tensor, " B"],
    candidates: Candidates,
) -> Ranks:
    """Rank each target under the scores ``queries @ item_table.T + item_bias``.

    The scores have at least single precision: in half precision a target would tie with many items.
    """
    queries, item_table, item_bias = in_single_precision(queries, item_table, item_bias)
    rows, width = chunk_sizes(queries, len(item_table))
    parts = []
    for first in range(0, len(queries), rows):
        last = min(first + rows, len(queries))
        query, own, others = queries[first:last], target[first:last], candidates.rows(first, last)
        if width < len(item_table):
            parts.append(ranks_by_blocks(query, item_table, item_bias, own, others, width))
        else:
            parts.append(ranks(F.linear(query, item_table, item_bias), own, others))
    return Ranks(*(torch.cat(column) for column in zip(*parts, strict=True)))


def in_single_precision(
    queries: Float[Tensor, "B D"], item_table: Float[Tensor, "V D"], item_bias: Float[Tensor, " V"] | None
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "V D"], Float[Tensor, " V"] | None]:
    """Convert what scores are made of to the item table's precision, and that to at least single precision."""
    dtype = torch.promote_types(item_table.dtype, torch.float32)
    return queries.to(dtype), item_table.to(dtype), None if item_bias is None else item_bias.to(dtype)


def chunk_sizes(queries: Float[Tensor, "B D"], num_items: int) -> tuple[int, int]:
    """Return of how many users and of how many items the scores may be in memory together.

    The number of items is that of all items, unless this leaves too few users.
    """
    at_once = BYTES_AT_ONCE.get(queries.device.type, BYTES_ELSEWHERE) // queries.element_size()
    rows = at_once // num_items
    if rows >= FEW_ROWS:
        return rows, num_items
    rows = max(1, math.isqrt(at_once) // 4)
    return rows, min(num_items, at_once // rows)


def ranks(scores: Float[Tensor, "B V"], target: Int[Tensor, " B"], candidates: Candidates) -> Ranks:
    """Rank each target by the scores of all items."""
    target_score = scores.gather(1, target[:, None])  # (B, 1)
    sampled = 1 + (scores.gather(1, candidates.negatives) >= target_score).sum(1)
    # Ones are added up as floats, five times as fast as booleans on a CPU, and exactly below 2^24 items.
    not_lower = torch.ge(scores[:, 1:], target_score, out=scores.new_empty(0, dtype=torch.float))
    full = not_lower.sum(1)  # the target itself is the 1
    item, row, _ = candidates.seen
    full_unseen = full.index_add(0, row, not_lower[row, item - 1], alpha=-1)
    return comparable(Ranks(sampled, full.long(), full_unseen.long()), scores.sum(1))


def ranks_by_blocks(
    queries: Float[Tensor, "B D"],
    item_table: Float[Tensor, "V D"],
    item_bias: Float[Tensor, " V"] | None,
    target: Int[Tensor, " B"],
    candidates: Candidates,
    width: int,
) -> Ranks:
    """Rank the targets of some users by blocks of ``width`` items, which are at least as many as the users.

    The scores that targets are compared by come from a product of the same shape as a block, so that both are rounded
    in the same way. A target's own place in its block is not looked at.
    """
    padded = target.repeat(-(-width // len(target)))[:width]
    bias = None if item_bias is None else item_bias[padded]
    target_score = F.linear(queries, item_table[padded], bias).diagonal()[:, None]  # (B, 1)
    negative_score = torch.empty_like(candidates.negatives, dtype=queries.dtype)
    full, unseen, total = torch.ones_like(target), torch.ones_like(target), queries.new_zeros(len(queries))
    item, row, _ = candidates.seen
    for begin in range(1, len(item_table), width):
        first = min(begin, len(item_table) - width)  # the last block is as wide, and begins within the one before
        bias = None if item_bias is None else item_bias[first : first + width]
        scores = F.linear(queries, item_table[first : first + width], bias)[:, begin - first :]
        total += scores.sum(1)
        negative_score = look_up(scores, candidates.negatives - begin, negative_score)
        counted = torch.ge(scores, target_score, out=torch.empty_like(scores))
        own = look_up(counted, target[:, None] - begin, torch.zeros_like(target_score))
        not_lower = counted.sum(1) - own[:, 0]  # exactly below 2^24 items
        column, last = item - begin, counted.shape[1] - 1
        inside = (column >= 0) & (column <= last)
        seen_not_lower = counted[row, column.clamp(0, last)] * inside
        full += not_lower.long()
        unseen += not_lower.index_add(0, row, seen_not_lower, alpha=-1).long()
    sampled = 1 + (negative_score >= target_score).sum(1)
    return comparable(Ranks(sampled, full, unseen), total)


def look_up(
    block: Float[Tensor, "B W"], column: Int[Tensor, "B C"], otherwise: Float[Tensor, "B C"]
) -> Float[Tensor, "B C"]:
    """Return the entries of a block in some columns, and others where a column is not of this block."""
    inside = (column >= 0) & (column < block.shape[1])
    return block.gather(1, column.clamp(0, block.shape[1] - 1)).where(inside, otherwise)


def comparable(ranks: Ranks, total: Float[Tensor, " B"]) -> Ranks:
    """Return the ranks, replaced by `NOT_A_NUMBER` where the sum of a user's scores is NaN."""
    is_number = ~total.isnan()
    return Ranks(*(rank.where(is_number, NOT_A_NUMBER) for rank in ranks))


def top_items(
    queries: Float[Tensor, "B D"],
    item_table: Float[Tensor, "V D"],
    item_bias: Float[Tensor, " V"] | None,
    k: int,
    left_out: Seen | None,
) -> tuple[Int[Tensor, "B k"], Float[Tensor, "B k"]]:
    """List the items that score highest for each query, the best first.

    Args:
        queries: of the users.
        item_table: of all items, the padding row first.
        item_bias: of all items, if any.
        k: the length of a list; shorter where there are fewer items.
        left_out: items that are not listed; None lists any.

    Returns:
        Items and scores. Items are 0 where no more are left. A score of NaN comes first.
    """
    queries, item_table, item_bias = in_single_precision(queries, item_table, item_bias)
    rows, width = chunk_sizes(queries, len(item_table))
    parts = []
    for first in range(0, len(queries), rows):
        last = min(first + rows, len(queries))
        seen = None if left_out is None else left_out.rows(first, last)
        parts.append(top_items_by_blocks(queries[first:last], item_table, item_bias, k, width, seen))
    items, scores = (torch.cat(column) for column in zip(*parts, strict=True))
    return items.masked_fill(scores == -torch.inf, 0), scores


def top_items_by_blocks(
    queries: Float[Tensor, "B D"],
    item_table: Float[Tensor, "V D"],
    item_bias: Float[Tensor, " V"] | None,
    k: int,
    width: int,
    left_out: Seen | None,
) -> tuple[Int[Tensor, "B k"], Float[Tensor, "B k"]]:
    """List the items of a few users as `top_items` does, by blocks of ``width`` items; left out is what scores -inf."""
    items = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device)
    highest = queries.new_empty(len(queries), 0)
    for begin in range(1, len(item_table), width):
        end = min(begin + width, len(item_table))
        scores = F.linear(queries, item_table[begin:end], None if item_bias is None else item_bias[begin:end])
        if left_out is not None:
            scores = F.pad(scores, (0, 1))  # a column for what is not of this block: to select it, a GPU would wait
            inside = (begin <= left_out.item) & (left_out.item < end)
            scores[left_out.row, torch.where(inside, left_out.item - begin, end - begin)] = -torch.inf
            scores = scores[:, :-1]
        of_block, column = scores.topk(min(k, end - begin))
        highest, place = torch.cat([highest, of_block], 1).topk(min(k, highest.shape[1] + of_block.shape[1]))
        items = torch.cat([items, column + begin], 1).gather(1, place)
    return items, highest
