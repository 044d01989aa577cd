"""Objectives that compare each target with a few sampled items, for catalogues too large to score whole at every step.

All draw one set of negatives a step, for all queries together: M queries and C negatives are one product of (M, D) and
(D, C). A negative that is a query's own target is left out for this query.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adamct.batch import DataSpec
from adamct.errors import require
from adamct.values import Checked, PositiveInt, Probability

Proposal = Literal["uniform", "popularity", "in_batch"]
"""What negatives are drawn by; see `SampledCrossEntropy`."""


class Sampled(Checked, ABC):
    """Scores each target and the negatives of the step.

    Args:
        spec: the data, whose training part tells how popular items are.
        num_negatives: drawn at each step.
    """

    def __init__(self, spec: DataSpec, num_negatives: PositiveInt):
        self.num_items = spec.num_items
        self.num_negatives = num_negatives

    def __call__(
        self,
        queries: Float[Tensor, "M D"],
        item_table: Float[Tensor, "V D"],
        item_bias: Float[Tensor, " V"] | None,
        targets: Int[Tensor, " M"],
        padding_is_a_class: bool = False,
    ) -> Float[Tensor, ""]:
        """The mean loss of some queries, of which each is to score its target high."""
        require(
            not padding_is_a_class,
            "loss: negatives are sampled from the items, but padding is a class of this model; give loss=cross_entropy",
        )
        negatives = self.draw(targets)
        vectors, chosen = item_table[targets], item_table[negatives]
        positive, negative = (queries * vectors).sum(1), F.linear(queries, chosen)
        if item_bias is not None:
            positive, negative = positive + item_bias[targets], negative + item_bias[negatives]
        return self.loss(positive, negative, negatives, negatives == targets[:, None])

    def draw(self, targets: Int[Tensor, " M"]) -> Int[Tensor, " C"]:
        """Negatives, uniform over all items and with replacement."""
        return torch.randint(1, self.num_items + 1, (self.num_negatives,), device=targets.device)

    @abstractmethod
    def loss(
        self,
        positive: Float[Tensor, " M"],
        negative: Float[Tensor, "M C"],
        negatives: Int[Tensor, " C"],
        own: Bool[Tensor, "M C"],
    ) -> Float[Tensor, ""]:
        """The loss of the targets' scores and those of the negatives, but for a query's own target."""


class SampledCrossEntropy(Sampled):
    """Cross-entropy whose sum over the catalogue is estimated by importance sampling (Bengio & Senécal, 2008).

    With C negatives of probabilities q, Z = sum_v exp(s_v) is estimated by exp(s_target) + sum_j exp(s_j) / (C q_j)
    over those negatives that are not the target. This is unbiased for Z; the loss is what -log softmax becomes with it,
    and converges to the full cross-entropy.

    Args:
        proposal: what negatives are drawn by: ``uniform``; ``popularity``, q being as 1 + log(1 + how often an item
            occurs in training); or ``in_batch``, the targets of the step, q being how often they occur in training.
        log_q: whether to correct by q, as above; else all weigh the same.
    """

    def __init__(
        self,
        spec: DataSpec,
        num_negatives: PositiveInt,
        proposal: Proposal,
        log_q: bool,
    ):
        super().__init__(spec, num_negatives)
        self.proposal = proposal
        self.log_q = log_q
        counts = spec.item_counts.double()
        weights = {"uniform": torch.ones_like(counts), "popularity": 1 + counts.log1p(), "in_batch": counts}[proposal]
        weights[0] = 0.0  # padding is not drawn
        self.probabilities = (weights / weights.sum()).float()  # (V,)

    def draw(self, targets: Int[Tensor, " M"]) -> Int[Tensor, " C"]:
        """As many as were asked for, with replacement, or the targets of the other queries."""
        if self.proposal == "uniform":
            return super().draw(targets)
        if self.proposal == "in_batch":
            return targets
        self.probabilities = self.probabilities.to(targets.device)
        return torch.multinomial(self.probabilities, self.num_negatives, replacement=True)

    def loss(self, positive, negative, negatives, own):
        """The mean of -log of the targets' shares in the estimated sums."""
        if self.log_q:
            self.probabilities = self.probabilities.to(negative.device)
            # Of a batch a query's own row is no draw.
            count = len(negatives) - (self.proposal == "in_batch")
            negative = negative - (count * self.probabilities[negatives]).log()
        logits = torch.cat([positive[:, None], negative.masked_fill(own, -torch.inf)], 1)
        return (logits.logsumexp(1) - positive).mean()


class GeneralisedBinaryCrossEntropy(Sampled):
    """gBCE of gSASRec (Petrov & Macdonald, RecSys '23), which undoes the overconfidence that sampling brings.

    -(β log σ(s_target) + sum_j log(1 - σ(s_j))) / (C + 1), with β = α (t (1 - 1/α) + 1/α) where α = C / (items - 1).

    Args:
        calibration: t, from 0 (plain binary cross-entropy) to 1.
    """

    def __init__(self, spec: DataSpec, num_negatives: PositiveInt, calibration: Probability):
        super().__init__(spec, num_negatives)
        rate = num_negatives / (spec.num_items - 1)
        self.beta = rate * (calibration * (1 - 1 / rate) + 1 / rate)

    def loss(self, positive, negative, negatives, own):
        """The weighted binary cross-entropies."""
        wrong = F.logsigmoid(-negative).masked_fill(own, 0.0).sum(1)
        return -(self.beta * F.logsigmoid(positive) + wrong).mean() / (len(negatives) + 1)


class BayesianPersonalisedRanking(Sampled):
    """BPR (Rendle et al., UAI '09): -log σ(s_target - s_j), the mean over the negatives."""

    def loss(self, positive, negative, negatives, own):
        """The mean over pairs."""
        higher = F.logsigmoid(positive[:, None] - negative).masked_fill(own, 0.0)
        return -(higher.sum(1) / (~own).sum(1).clamp(min=1)).mean()
