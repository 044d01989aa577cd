"""Random scores and candidates, and ranks by counting in plain Python."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adamct.batch import Candidates, Seen
from adamct.evaluation.metrics import RankingMetrics

NUM_ITEMS, NUM_NEGATIVES, NUM_USERS = 15, 6, 40
CUTOFFS = (1, 2, 5, 10)


def seen(sets: Sequence[Sequence[int]]) -> Seen:
    """Return the seen items of some rows."""
    counts = torch.tensor([len(items_of_row) for items_of_row in sets])
    items = torch.tensor([item for items_of_row in sets for item in items_of_row], dtype=torch.long)
    bounds = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    return Seen(items, torch.arange(len(sets)).repeat_interleave(counts), bounds)


def draw(seed: int, levels: int | None = None) -> tuple[Tensor, Tensor, Candidates]:
    """Draw scores, targets and candidates. Few levels of scores tie often; None never ties."""
    generator = torch.Generator().manual_seed(seed)
    shape = NUM_USERS, NUM_ITEMS + 1
    scores = (
        torch.randn(shape, generator=generator, dtype=torch.double)
        if levels is None
        else torch.randint(levels, shape, generator=generator).double()
    )
    order = torch.rand(NUM_USERS, NUM_ITEMS, generator=generator).argsort(1) + 1
    counts = torch.randint(NUM_ITEMS, (NUM_USERS,), generator=generator)  # some have had all items but the target
    seen_items = seen(
        [row[1 : 1 + count].tolist() for row, count in zip(order.flip(1).roll(1, 1), counts, strict=True)]
    )
    return scores, order[:, 0], Candidates(order[:, 1 : NUM_NEGATIVES + 1], seen_items)


def count_rank(scores: list[float], target: int, candidates: Sequence[int]) -> int:
    higher = sum(scores[item] > scores[target] for item in candidates)
    tied = sum(scores[item] == scores[target] for item in candidates if item != target)
    return 1 + higher + tied


def counted(scores: Tensor, target: Tensor, candidates: Candidates) -> list[list[int]]:
    """Return the three ranks of every target, by counting."""
    rows = list(zip(scores.tolist(), target.tolist(), candidates.negatives.tolist(), strict=True))
    seen_items = [candidates.seen.rows(row, row + 1).item.tolist() for row in range(len(target))]
    every = range(1, scores.shape[1])
    return [
        [count_rank(*row) for row in rows],
        [count_rank(row, item, every) for row, item, _ in rows],
        [
            count_rank(row, item, [i for i in every if i not in items_of_row])
            for (row, item, _), items_of_row in zip(rows, seen_items, strict=True)
        ],
    ]


def metrics_of(ranked: Sequence[int] | Tensor, num_users: int | None = None) -> dict[str, float]:
    metric = RankingMetrics(len(ranked) if num_users is None else num_users, CUTOFFS)
    metric.update(torch.arange(len(ranked)), torch.as_tensor(ranked))
    return metric.compute()
