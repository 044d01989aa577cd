"""From vectors to scores to ranks, from ranks to Recall@k, NDCG@k and MRR."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from adamct.errors import InputError

NOT_A_NUMBER = -1
"""The rank of a target whose scores cannot be compared."""

SCORES_AT_ONCE = {"cpu": 2**20, "cuda": 2**27}
"""Users are ranked in chunks of about this many scores: 4 MiB, which stay in a processor's cache, or 512 MiB."""


def rank_targets(
    queries: Float[Tensor, "B D"],
    item_table: Float[Tensor, "V D"],
    item_bias: Float[Tensor, " V"] | None,
    target: Int[Tensor, " B"],
    negatives: Int[Tensor, "B C"],
) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"]]:
    """`ranks` under the scores ``queries @ item_table.T + item_bias``, which are never in memory all at once."""
    rows = max(1, SCORES_AT_ONCE[queries.device.type] // len(item_table))
    chunks = zip(queries.split(rows), target.split(rows), negatives.split(rows), strict=True)
    ranked = [ranks(F.linear(query, item_table, item_bias), *others) for query, *others in chunks]
    sampled, full = (torch.cat(column) for column in zip(*ranked, strict=True))
    return sampled, full


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
