"""From ranks to Recall@k, NDCG@k and MRR."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from torchmetrics import Metric

from adamct.errors import InputError


class RankingMetrics(Metric):
    """Recall@k, NDCG@k and MRR from the rank of each user's one relevant item.

    The state is one rank per user, 0 where there is none yet, and processes are joined by addition: as long as each
    user is ranked by one process, the metrics are the same to the last bit for any number of processes and batches.
    """

    full_state_update = False
    ranks: Int[Tensor, " U"]
    """This process's users."""
    joined: Int[Tensor, " U"]
    """All users, as of the last `compute`."""

    def __init__(self, num_users: int, cutoffs: Sequence[int]):
        super().__init__()
        self.cutoffs = tuple(cutoffs)
        self.names = ["mrr", *(f"{name}@{k}" for k in self.cutoffs for name in ("recall", "ndcg"))]
        self.add_state("ranks", torch.zeros(num_users, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, user: Int[Tensor, " B"], rank: Int[Tensor, " B"]) -> None:
        """Note the ranks of some users' targets."""
        self.ranks[user] = rank

    def compute(self) -> dict[str, float]:
        """The metrics' means over the users that have a rank, joined over all processes, as ``joined`` then is."""
        self.joined = self.ranks.clone()
        if (self.ranks < 0).any():
            raise InputError(
                f"the model scores {int((self.ranks < 0).sum())} users with NaN: lower optimizer.lr, "
                "or set trainer.gradient_clip_val"
            )
        ranks = self.ranks[self.ranks > 0].double()
        if not len(ranks):
            return {}
        gain = 1 / torch.log2(ranks + 1)
        means = {"mrr": (1 / ranks).mean()}
        for k in self.cutoffs:
            means[f"recall@{k}"] = (ranks <= k).double().mean()
            means[f"ndcg@{k}"] = (gain * (ranks <= k)).mean()
        return {name: value.item() for name, value in means.items()}
