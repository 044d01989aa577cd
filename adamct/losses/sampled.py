"""Losses that compare each target with a few sampled items, for catalogues too large to score in full at every step.

Queries share their negatives: G draws of C negatives, each for Q queries, are G products of (Q, D) and (D, C). One draw
for all queries of a step is the fastest. With several draws a model learns more in an epoch (see `ESASRec`). The
authors of gSASRec and eSASRec draw for each query. A negative that is a query's own target is left out for this query;
they keep it.
"""

from abc import abstractmethod
from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adamct.batch import DataSpec
from adamct.errors import require
from adamct.losses.base import ItemLoss
from adamct.values import PositiveInt, Probability

Proposal = Literal["uniform", "popularity", "in_batch"]
"""The distribution that negatives are drawn from; see `SampledCrossEntropy`."""


def require_items_only(padding_is_a_class: bool) -> None:
    """Refuse a model with padding as a class of the softmax, because negatives are sampled from the items.

    Raises:
        InputError: padding is a class of the model.
    """
    require(
        not padding_is_a_class,
        "loss: negatives are sampled from the items, but padding is a class of this model; give loss=cross_entropy",
    )


class Sampled(ItemLoss):
    """A loss over the scores of each target and of the step's negatives.

    Args:
        spec: the facts of the dataset.
        num_negatives: the number of negatives of a draw.
        queries_per_draw: the number of queries that share a draw; None for one draw a step.
    """

    def __init__(self, spec: DataSpec, num_negatives: PositiveInt, queries_per_draw: PositiveInt | None):
        super().__init__(spec)
        self.num_negatives = num_negatives
        self.queries_per_draw = queries_per_draw

    def __call__(
        self,
        queries: Float[Tensor, "M D"],
        item_table: Float[Tensor, "V D"],
        item_bias: Float[Tensor, " V"] | None,
        targets: Int[Tensor, " M"],
        padding_is_a_class: bool = False,
    ) -> Float[Tensor, ""]:
        """Return the mean loss of the queries.

        Raises:
            InputError: padding is a class of the model.
        """
        require_items_only(padding_is_a_class)
        share = self.queries_per_draw or len(queries)
        num_draws = -(-len(queries) // share)
        negatives = self.draw(targets, num_draws)  # (G, C)
        rows = F.pad(queries, (0, 0, 0, num_draws * share - len(queries))).unflatten(0, (num_draws, share))  # (G, Q, D)
        negative = (rows @ F.embedding(negatives, item_table).mT).flatten(0, 1)[: len(queries)]  # (M, C)
        negatives = negatives[:, None].expand(-1, share, -1).flatten(0, 1)[: len(queries)]  # (M, C)
        positive = (queries * item_table[targets]).sum(1)
        if item_bias is not None:
            positive, negative = positive + item_bias[targets], negative + item_bias[negatives]
        return self.loss(positive, negative, negatives, negatives == targets[:, None])

    def draw(self, targets: Int[Tensor, " M"], num_draws: int) -> Int[Tensor, "G C"]:
        """Draw negatives uniformly from all items, with replacement."""
        return torch.randint(1, self.num_items + 1, (num_draws, self.num_negatives), device=targets.device)

    @abstractmethod
    def loss(
        self,
        positive: Float[Tensor, " M"],
        negative: Float[Tensor, "M C"],
        negatives: Int[Tensor, "M C"],
        is_target: Bool[Tensor, "M C"],
    ) -> Float[Tensor, ""]:
        """Return the mean loss over the queries.

        Args:
            positive: the scores of the targets.
            negative: the scores of the negatives.
            negatives: the items that were drawn for each query.
            is_target: whether a negative is the query's own target, which the loss leaves out.
        """


class SampledCrossEntropy(Sampled):
    """Cross-entropy whose sum over the catalogue is estimated by importance sampling (Bengio & Senécal, 2008).

    With C negatives of probabilities q, Z = sum_v exp(s_v) is estimated by exp(s_target) + sum_j exp(s_j) / (C q_j)
    over those negatives that are not the target. The estimate is unbiased for Z, except with
    ``in_batch``, whose q also counts first items, which are no targets. The loss is -log softmax with this estimate,
    and converges to the full cross-entropy.

    Args:
        spec: the facts of the dataset, with the items' counts in training.
        num_negatives: the number of negatives of a draw.
        queries_per_draw: the number of queries that share a draw; None for one draw a step.
        proposal: the distribution of the negatives. ``uniform``; ``popularity``, with q proportional to
            1 + log(1 + an item's count in training); or ``in_batch``, the targets of the step, with q proportional to
            their counts.
        log_q: whether to correct by q, as above. Otherwise all negatives weigh the same.
    """

    def __init__(
        self,
        spec: DataSpec,
        num_negatives: PositiveInt,
        queries_per_draw: PositiveInt | None,
        proposal: Proposal,
        log_q: bool,
    ):
        super().__init__(spec, num_negatives, queries_per_draw)
        require(
            queries_per_draw is None or proposal != "in_batch",
            f"loss.queries_per_draw={queries_per_draw}: must be null with loss.proposal=in_batch",
        )
        self.proposal = proposal
        self.log_q = log_q
        counts = spec.item_counts.double()
        weights = {"uniform": torch.ones_like(counts), "popularity": 1 + counts.log1p(), "in_batch": counts}[proposal]
        weights[0] = 0.0  # padding is not drawn
        self.probabilities = (weights / weights.sum()).float()  # (V,)

    def draw(self, targets: Int[Tensor, " M"], num_draws: int) -> Int[Tensor, "G C"]:
        """Draw ``num_negatives`` items with replacement, or return the targets of the other queries."""
        if self.proposal == "uniform":
            return super().draw(targets, num_draws)
        if self.proposal == "in_batch":
            return targets[None]
        self.probabilities = self.probabilities.to(targets.device)
        count = num_draws * self.num_negatives
        return torch.multinomial(self.probabilities, count, replacement=True).view(num_draws, -1)

    def loss(self, positive, negative, negatives, is_target):
        """Return the mean of -log of the targets' shares in the estimated sums."""
        if self.log_q:
            self.probabilities = self.probabilities.to(negative.device)
            # With ``in_batch``, a query's own target is not drawn.
            count = negatives.shape[1] - (self.proposal == "in_batch")
            negative = negative - (count * self.probabilities[negatives]).log()
        logits = torch.cat([positive[:, None], negative.masked_fill(is_target, -torch.inf)], 1)
        return (logits.logsumexp(1) - positive).mean()


class GeneralisedBinaryCrossEntropy(Sampled):
    """gBCE of gSASRec (Petrov & Macdonald, RecSys '23), which undoes the overconfidence that sampling brings.

    -(β log σ(z_target) + sum_j log(1 - σ(z_j))) / (C + 1), with β = α (t (1 - 1/α) + 1/α) where α = C / (items - 1).

    The paper's z is the score s. Here z = s + log(β / C), so that equal scores of 0 are the best constant. The order of
    the items does not depend on it. Without the term all scores must first fall far, and the queries of all histories
    become equal. On Beauty, validation NDCG@10 of gSASRec among unseen items after eight epochs is .0277 with the term,
    and .0084 without it.

    With t = 0, β is 1: plain binary cross-entropy, divided by C + 1. If each draw also has one negative
    and one query, it is half of `BinaryCrossEntropy`, except where a negative is the target.

    Args:
        spec: the facts of the dataset.
        num_negatives: the number of negatives of a draw.
        queries_per_draw: the number of queries that share a draw; None for one draw a step.
        calibration: t, from 0 (plain binary cross-entropy) to 1.
    """

    def __init__(
        self,
        spec: DataSpec,
        num_negatives: PositiveInt,
        queries_per_draw: PositiveInt | None,
        calibration: Probability,
    ):
        super().__init__(spec, num_negatives, queries_per_draw)
        rate = num_negatives / (spec.num_items - 1)
        self.beta = rate * (calibration * (1 - 1 / rate) + 1 / rate)
        self.base = log(self.beta / num_negatives)

    def loss(self, positive, negative, negatives, is_target):
        """Return the mean of the weighted binary cross-entropies."""
        rejected = F.logsigmoid(-negative - self.base).masked_fill(is_target, 0.0).sum(1)
        return -(self.beta * F.logsigmoid(positive + self.base) + rejected).mean() / (negatives.shape[1] + 1)


class BayesianPersonalisedRanking(Sampled):
    """BPR (Rendle et al., UAI '09): -log σ(s_target - s_j), the mean over the negatives."""

    def loss(self, positive, negative, negatives, is_target):
        """Return the mean over the pairs of a target and a negative."""
        higher = F.logsigmoid(positive[:, None] - negative).masked_fill(is_target, 0.0)
        return -(higher.sum(1) / (~is_target).sum(1).clamp(min=1)).mean()


class BinaryCrossEntropy(ItemLoss):
    """SASRec's loss (Kang & McAuley, ICDM '18, Eq. 7): -log σ(s_target) - log(1 - σ(s_j)), with a j for each target.

    j is drawn uniformly from all items but the target. The paper also leaves out the user's other items, which this
    loss does not know. On Beauty a draw is one of them with a probability of 0.16 %.
    """

    def __call__(
        self,
        queries: Float[Tensor, "M D"],
        item_table: Float[Tensor, "V D"],
        item_bias: Float[Tensor, " V"] | None,
        targets: Int[Tensor, " M"],
        padding_is_a_class: bool = False,
    ) -> Float[Tensor, ""]:
        """Return the mean loss of the queries.

        Raises:
            InputError: padding is a class of the model.
        """
        require_items_only(padding_is_a_class)
        pairs = torch.stack([targets, self.draw(targets)])  # (2, M)
        scores = (queries * item_table[pairs]).sum(2)
        if item_bias is not None:
            scores = scores + item_bias[pairs]
        positive, negative = scores
        return -(F.logsigmoid(positive) + F.logsigmoid(-negative)).mean()

    def draw(self, targets: Int[Tensor, " M"]) -> Int[Tensor, " M"]:
        """Draw an item for each target uniformly from the other items."""
        others = torch.randint(1, self.num_items, targets.shape, device=targets.device)
        return others + (others >= targets)
