"""SINE: interests from a pool of prototypes (Tan et al., WSDM 2021; equation numbers are the paper's).

"Sparse-Interest Network for Sequential Recommendation".
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.errors import require
from adamct.models.base import VectorModel
from adamct.models.layers import item_embedding
from adamct.values import DropoutRate, NonNegativeFloat, PositiveFloat, PositiveInt


class AttentivePooling(nn.Module):
    """``count`` sets of weights over the positions, each softmax(tanh(X W_1) w_2)."""

    def __init__(self, hidden_size: int, count: int):
        super().__init__()
        self.hidden = nn.Linear(hidden_size, count * hidden_size, bias=False)
        self.score = nn.Parameter(torch.randn(count, hidden_size) * hidden_size**-0.5)

    def forward(self, x: Float[Tensor, "B N D"], is_item: Bool[Tensor, "B N"]) -> Float[Tensor, "B N count"]:
        hidden = self.hidden(x).unflatten(-1, self.score.shape).tanh()
        scores = torch.einsum("bnkd,kd->bnk", hidden, self.score)
        return scores.masked_fill(~is_item.unsqueeze(-1), -torch.inf).softmax(1)


class SINE(VectorModel):
    """Interest vectors from K of L prototypes for each history, summed with weights from the predicted intent.

    The softmaxes over positions leave padding out. Position embeddings take part only in the weights of Eq. 5.

    The softmaxes of RecBole include padding. It has no positions, uses one matrix for Eq. 4 and Eq. 8, and normalises
    to unit length instead of two of the LayerNorms. The paper does not give the epsilon of the LayerNorms. RecBole has
    1e-12. This model has torch's 1e-5, which is larger than the interests' initial variances (4e-6 on Beauty). On
    Beauty the best validation NDCG@10 of 42 epochs is .0389 among all items and .380 among 100 with 1e-5, and .0358 and
    .372 with 1e-12.

    The authors' code departs from the paper. It normalises to unit length instead of the LayerNorms of Eq. 4, and has
    none of the others. Eq. 4 has no W_3, and has the temperature of Eq. 9. The scores of Eq. 5 are multiplied by
    P_{k|t} before their softmax. Positions are added in Eq. 2 and 8 too, and the item embeddings in Eq. 7. The intent
    of Eq. 9 is a linear layer of Eq. 8 and the interests' mean. The penalty is on the similarity of a user's interests,
    not Eq. 13, and its default weight is 0.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        num_prototypes: PositiveInt,
        num_interests: PositiveInt,
        temperature: PositiveFloat,
        penalty_weight: NonNegativeFloat,
        dropout: DropoutRate,
    ):
        super().__init__()
        fits = num_interests <= num_prototypes
        require(fits, f"model.num_interests={num_interests}: must be at most model.num_prototypes={num_prototypes}")
        self.num_interests = num_interests
        self.temperature = temperature
        self.penalty_weight = penalty_weight
        self.item_embedding = item_embedding(spec, hidden_size)
        self.position_embedding = nn.Embedding(spec.max_len, hidden_size)
        self.prototypes = nn.Parameter(torch.empty(num_prototypes, hidden_size))
        self.dropout = kernels.Dropout(dropout)
        self.concept_pooling = AttentivePooling(hidden_size, 1)
        self.assignment = nn.Linear(hidden_size, hidden_size, bias=False)
        self.assignment_norm = nn.LayerNorm(hidden_size)
        self.prototype_norm = nn.LayerNorm(hidden_size)
        self.interest_pooling = AttentivePooling(hidden_size, num_interests)
        self.interest_norm = nn.LayerNorm(hidden_size)
        self.intent_pooling = AttentivePooling(hidden_size, 1)
        self.intent_norm = nn.LayerNorm(hidden_size)
        for table in (self.item_embedding.weight, self.position_embedding.weight, self.prototypes):
            nn.init.xavier_normal_(table)
        with torch.no_grad():
            self.item_embedding.weight[0] = 0

    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        is_item = batch.item_seq != 0
        items = self.dropout(self.item_embedding(batch.item_seq))  # X_u
        concept = (self.concept_pooling(items, is_item).transpose(1, 2) @ items).squeeze(1)  # z_u (B, D), Eq. 2
        affinity, nearest = (concept @ self.prototypes.T).topk(self.num_interests, 1)  # (B, K), Eq. 3
        prototypes = self.prototypes[nearest] * affinity.sigmoid().unsqueeze(-1)  # C_u (B, K, D)

        assigned = self.assignment_norm(self.assignment(items)) @ self.prototype_norm(prototypes).transpose(1, 2)
        assigned = assigned.softmax(-1)  # P_{k|t} (B, N, K), Eq. 4
        weight = self.interest_pooling(items + self.position_embedding.weight[: items.shape[1]], is_item)  # Eq. 5
        interests = self.interest_norm((assigned * weight).transpose(1, 2) @ items)  # (B, K, D), Eq. 6

        intents = assigned @ prototypes  # (B, N, D), Eq. 7
        intent = self.intent_norm(self.intent_pooling(intents, is_item).transpose(1, 2) @ intents)  # (B, 1, D), Eq. 8
        share = ((interests @ intent.transpose(1, 2)) / self.temperature).softmax(1)  # (B, K, 1), Eq. 9
        return (share * interests).sum(1)  # Eq. 10

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_embedding.weight

    def penalty(self, batch: Batch) -> Float[Tensor, ""]:
        """Return the weighted squared covariances of different prototypes (Eq. 13), which spread them out."""
        centred = self.prototypes - self.prototypes.mean(1, keepdim=True)
        covariance = centred @ centred.T / centred.shape[1]
        return self.penalty_weight * (covariance.square().sum() - covariance.diagonal().square().sum()) / 2
