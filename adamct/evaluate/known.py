"""The metrics that lists determine; see `adamct.evaluate` for the rules."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from adamct.evaluate.ranks import ListRanks, TestItems
from adamct.evaluation.metrics import LIST_LENGTH, ListMetrics, RankingMetrics
from adamct.evaluation.names import FULL, FULL_UNSEEN, names_of_rankings

SAMPLES = "each list has its user's test item but lacks other items, as scores of sampled candidates do"
WITHOUT_SEEN = "no list has an item that its user has had above one that the user has not had"
TOO_FEW = "a list lacks the score of the test item or of one of its {} sampled candidates"
TOO_SHORT = "a list without its test item has {:.0f} items, and no cutoff is as low"


class Ranking(NamedTuple):
    """The ranks of the test items in one ranking, as far as they are known."""

    name: str
    ranks: Int[np.ndarray, " M"]
    """The ranks; the number of candidates for a test item that is not listed."""
    depth: float
    """The largest k at which the metrics are known; infinity if all ranks are known."""
    unknown: str | None
    """The reason why the ranking is unknown; None if it is known."""
    top: Int[np.ndarray, "M k"] | None
    """The first items of the lists; None if a list has too few, or if the ranking is among sampled items."""


def rankings(items: TestItems, ranks: ListRanks, cutoffs: Sequence[int]) -> tuple[Ranking, ...]:
    """Return the rankings in the order of `adamct.batch.Ranks`. At least one user must have a list."""
    num_items, count = items.width - 1, items.negatives.shape[1]
    listed = ranks.length > 0
    unseen_length, unseen_items = ranks.length - ranks.seen, num_items - items.num_seen
    are_samples = (ranks.full[listed] > 0).all() and (unseen_length < unseen_items)[listed].any()
    sampled = Ranking(
        name=names_of_rankings(count)[0],
        ranks=np.where(ranks.sampled > 0, ranks.sampled, count + 1),
        depth=math.inf,
        unknown=None if (ranks.sampled[listed] > 0).all() else TOO_FEW.format(count),
        top=None,
    )
    among_all = []
    for name, places, length, available, top in (
        (FULL, ranks.full, ranks.length, num_items, ranks.top),
        (FULL_UNSEEN, ranks.full_unseen, unseen_length, unseen_items, ranks.top_unseen),
    ):
        missed = listed & (places == 0)
        depth = float(length[missed].min()) if missed.any() else math.inf
        reasons = {
            SAMPLES: are_samples,
            WITHOUT_SEEN: name == FULL and not ranks.seen_above.any(),
            TOO_SHORT.format(depth): depth < min(cutoffs),
        }
        is_long = (length >= np.minimum(LIST_LENGTH, available))[listed].all()
        among_all.append(
            Ranking(
                name=name,
                ranks=np.where(places > 0, places, num_items),
                depth=depth,
                unknown=next((reason for reason, holds in reasons.items() if holds), None),
                top=top if is_long else None,
            )
        )
    return sampled, *among_all


def metrics(
    ranking: Ranking,
    users: Int[np.ndarray, " M"],
    num_users: int,
    cutoffs: Sequence[int],
    item_counts: Float[Tensor, " V"],
) -> dict[str, float]:
    """Return the known metrics of a ranking, by their names in a record.

    Args:
        ranking: the ranking.
        users: the users of its ranks.
        num_users: the number of all users.
        cutoffs: the k of the metrics.
        item_counts: the occurrences of each item in training.
    """
    if ranking.unknown is not None:
        return {}
    known = RankingMetrics(num_users, [k for k in cutoffs if k <= ranking.depth])
    known.update(torch.from_numpy(users), torch.from_numpy(ranking.ranks))
    values = known.compute()
    if ranking.depth < math.inf:
        del values["mrr"]
    if ranking.top is not None:
        recommended = ListMetrics(item_counts, LIST_LENGTH)
        recommended.update(torch.from_numpy(ranking.top))
        values |= recommended.compute()
    return {f"test/{ranking.name}/{name}": value for name, value in values.items()}
