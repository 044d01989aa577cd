"""From ranks to Recall@k, NDCG@k and MRR; from recommended lists to coverage, popularity and Gini."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from adamct.errors import InputError
from adamct.evaluation.gains import gains_of_places
from adamct.evaluation.names import names_of_metrics

LIST_LENGTH = 10
"""The length k of the lists whose coverage, popularity and Gini coefficient are measured."""


class RankingMetrics(Metric):
    """Recall@k, NDCG@k and MRR from the rank of each user's one relevant item.

    The state is a rank for each user, 0 for users without one. The ranks of several processes are added. As each user
    is ranked by one process, the metrics are equal to the last bit for any number of processes and batches.
    """

    full_state_update = False
    ranks: Int[Tensor, " U"]
    """The ranks of this process's users."""
    joined: Int[Tensor, " U"]
    """The ranks of all users at the last `compute`, on the CPU."""

    def __init__(self, num_users: int, cutoffs: Sequence[int]):
        super().__init__()
        self.cutoffs = tuple(cutoffs)
        self.names = names_of_metrics(self.cutoffs)
        self.add_state("ranks", torch.zeros(num_users, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, user: Int[Tensor, " B"], rank: Int[Tensor, " B"]) -> None:
        """Store the ranks of some users' targets."""
        self.ranks[user] = rank

    def compute(self) -> dict[str, float]:
        """Return the means of the metrics over the users with a rank, and store all processes' ranks in ``joined``.

        The CPU computes them, because some devices lack double precision.

        Raises:
            InputError: a user's scores are NaN.
        """
        self.joined = self.ranks.cpu().clone()
        if (self.joined < 0).any():
            raise InputError(
                f"the model scores {int((self.joined < 0).sum())} users with NaN: lower optimizer.lr, "
                "or set trainer.gradient_clip_val"
            )
        ranks = self.joined[self.joined > 0].double()
        if not len(ranks):
            return {}
        return {name: gains_of_places(ranks, name, torch.log2).double().mean().item() for name in self.names}


class ListMetrics(Metric):
    """Coverage, popularity and Gini coefficient of recommended lists. The state counts how often each item is listed.

    - ``coverage@k``: the share of the catalogue that is in any list (Ge, Delgado-Battenfeld & Jannach, RecSys '10).
    - ``popularity@k``: how often a listed item occurs in training, the mean over all places of all lists (Yin et al.,
      VLDB '12).
    - ``gini@k``: the Gini coefficient of the shares p_1 <= ... <= p_n that the n items of the catalogue have of all
      places, sum_j (2j - n - 1) p_j / (n - 1) (Shani & Gunawardana, Recommender Systems Handbook, 2011): 0 if all
      items are listed equally often, 1 if only one is listed.
    """

    full_state_update = False
    listed: Int[Tensor, " V"]

    def __init__(self, item_counts: Float[Tensor, " V"], k: int):
        super().__init__()
        self.item_counts = item_counts.double().cpu()
        self.k = k
        self.names = [f"{name}@{k}" for name in ("coverage", "popularity", "gini")]
        self.add_state("listed", torch.zeros(len(item_counts), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, lists: Int[Tensor, "B k"]) -> None:
        """Count the items of some lists, in which 0 is an empty place."""
        items = lists.flatten()
        self.listed.index_add_(0, items, torch.ones_like(items))

    def compute(self) -> dict[str, float]:
        """Return the metrics, an empty dict if no item was listed."""
        listed, popularity = self.listed.cpu().double()[1:], self.item_counts[1:]
        if not listed.any():
            return {}
        n = len(listed)
        share = listed / listed.sum()
        place = torch.arange(1, n + 1)
        gini = ((2 * place - n - 1) * share.sort().values).sum() / max(n - 1, 1)
        values = ((listed > 0).double().mean(), (share * popularity).sum(), gini)
        return {name: value.item() for name, value in zip(self.names, values, strict=True)}
