"""From scores to ranks and lists: few scores are in memory together, whatever the catalogue's size."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from adamct.batch import Candidates, Ranks, Seen
from adamct.scores import Scores

NOT_A_NUMBER = -1
"""The rank of a target whose scores cannot be compared."""

BYTES_AT_ONCE = {"cpu": 2**22, "cuda": 2**29}
"""The scores that are in memory together: 4 MiB, which stay in a processor's cache, or 512 MiB of a GPU."""
BYTES_ELSEWHERE = 2**27
"""The same for any other device."""
FEW_ROWS = 16
"""Fewer users than this at a time, whose scores for all items are in memory, would read the item table too often."""


def rank_targets(scores: Scores, target: Int[Tensor, " B"], candidates: Candidates) -> Ranks:
    """Rank each user's target."""
    rows, width = chunk_sizes(scores)
    parts = []
    for first in range(0, scores.num_users, rows):
        last = min(first + rows, scores.num_users)
        part, own, others = scores.rows(first, last), target[first:last], candidates.rows(first, last)
        if width < scores.num_items:
            parts.append(ranks_by_blocks(part, own, others, width))
        else:
            parts.append(ranks(part.block(0, scores.num_items), own, others))
    return Ranks(*(torch.cat(column) for column in zip(*parts, strict=True)))


def chunk_sizes(scores: Scores) -> tuple[int, int]:
    """Return of how many users and of how many items the scores may be in memory together.

    The number of items is that of all items, unless this leaves too few users.
    """
    at_once = BYTES_AT_ONCE.get(scores.device.type, BYTES_ELSEWHERE) // scores.dtype.itemsize
    rows = at_once // scores.num_items
    if rows >= FEW_ROWS:
        return rows, scores.num_items
    rows = max(1, math.isqrt(at_once) // 4)
    return rows, min(scores.num_items, at_once // rows)


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


def ranks_by_blocks(scores: Scores, target: Int[Tensor, " B"], candidates: Candidates, width: int) -> Ranks:
    """Rank the targets of some users by blocks of ``width`` items, which are at least as many as the users.

    The scores of the targets are rounded as in a block. A target's own place in its block is not looked at.
    """
    num_users, num_items, device = scores.num_users, scores.num_items, scores.device
    target_score = scores.for_targets(target, width)[:, None]  # (B, 1)
    negative_score = torch.empty_like(candidates.negatives, dtype=scores.dtype)
    full, unseen = torch.ones_like(target), torch.ones_like(target)
    total = torch.zeros(num_users, dtype=scores.dtype, device=device)
    item, row, _ = candidates.seen
    for begin in range(1, num_items, width):
        first = min(begin, num_items - width)  # the last block is as wide, and begins within the one before
        block = scores.block(first, first + width)[:, begin - first :]
        total += block.sum(1)
        negative_score = look_up(block, candidates.negatives - begin, negative_score)
        counted = torch.ge(block, target_score, out=torch.empty_like(block))
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


def top_items(scores: Scores, k: int, left_out: Seen | None) -> tuple[Int[Tensor, "B k"], Float[Tensor, "B k"]]:
    """List the items that score highest for each user, the best first.

    Args:
        scores: of the users.
        k: the length of a list; shorter where there are fewer items.
        left_out: items that are not listed; None lists any.

    Returns:
        Items and scores. Items are 0 where no more are left. A score of NaN comes first.
    """
    rows, width = chunk_sizes(scores)
    parts = []
    for first in range(0, scores.num_users, rows):
        last = min(first + rows, scores.num_users)
        seen = None if left_out is None else left_out.rows(first, last)
        parts.append(top_items_by_blocks(scores.rows(first, last), k, width, seen))
    items, highest = (torch.cat(column) for column in zip(*parts, strict=True))
    return items.masked_fill(highest == -torch.inf, 0), highest


def top_items_by_blocks(
    scores: Scores, k: int, width: int, left_out: Seen | None
) -> tuple[Int[Tensor, "B k"], Float[Tensor, "B k"]]:
    """List the items of a few users as `top_items` does, by blocks of ``width`` items; left out is what scores -inf."""
    items = torch.empty(scores.num_users, 0, dtype=torch.long, device=scores.device)
    highest = torch.empty(scores.num_users, 0, dtype=scores.dtype, device=scores.device)
    for begin in range(1, scores.num_items, width):
        end = min(begin + width, scores.num_items)
        block = scores.block(begin, end)
        if left_out is not None:
            block = F.pad(block, (0, 1))  # a column for what is not of this block: to select it, a GPU would wait
            inside = (begin <= left_out.item) & (left_out.item < end)
            block[left_out.row, torch.where(inside, left_out.item - begin, end - begin)] = -torch.inf
            block = block[:, :-1]
        of_block, column = block.topk(min(k, end - begin))
        highest, place = torch.cat([highest, of_block], 1).topk(min(k, highest.shape[1] + of_block.shape[1]))
        items = torch.cat([items, column + begin], 1).gather(1, place)
    return items, highest
