"""HGN: gates on features and items (Ma et al., KDD 2019; equation numbers are the paper's).

"Hierarchical Gating Networks for Sequential Recommendation".
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adamct.batch import Batch, DataSpec
from adamct.models.base import VectorModel
from adamct.models.layers import item_embedding, last_items
from adamct.values import PositiveInt


class HGN(VectorModel):
    """Gates on the features, then on the items, of the last L; scores are (u + s + sum of the L items) Q^T (Eq. 7).

    The user's vector u, the average s of the gated items (Eq. 5) and the items themselves are all multiplied with the
    output table Q. The average is the gated sum divided by the sum of the items' gates, as in the authors' code and
    RecBole. On Beauty, validation NDCG@10 among all items after six epochs is .0477 with this, and .0433 divided by the
    number of items.

    The authors' code also has a bias for each item, predicts the next three items, and its average includes padding, as
    RecBole's does. RecBole takes L = ``max_len``, ten times the paper's. This model trains with the cross-entropy over
    all items, as every model here, instead of the paper's pairwise loss. The paper's L2 term is
    ``optimizer.weight_decay``.
    """

    uses_user_embedding = True

    def __init__(self, spec: DataSpec, hidden_size: PositiveInt, window: PositiveInt):
        super().__init__()
        self.window = window
        self.item_embedding = item_embedding(spec, hidden_size)
        self.user_embedding = nn.Embedding(spec.num_users, hidden_size)
        self.feature_gate = nn.Linear(hidden_size, hidden_size)  # W_1, b
        self.feature_gate_user = nn.Linear(hidden_size, hidden_size, bias=False)  # W_2
        self.item_gate = nn.Linear(hidden_size, 1, bias=False)  # w_3
        self.item_gate_user = nn.Linear(hidden_size, window, bias=False)  # W_4
        self.output_embedding = item_embedding(spec, hidden_size)
        for embedding in (self.item_embedding, self.user_embedding, self.output_embedding):
            nn.init.normal_(embedding.weight, std=1 / hidden_size)
        with torch.no_grad():
            self.item_embedding.weight[0] = 0

    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        item_seq = last_items(batch.item_seq, batch.seq_len, self.window)
        items, user = self.item_embedding(item_seq), self.user_embedding(batch.user)  # (B, L, D), (B, D)
        features = items * (self.feature_gate(items) + self.feature_gate_user(user)[:, None]).sigmoid()  # Eq. 2
        weight = (self.item_gate(features).squeeze(-1) + self.item_gate_user(user)).sigmoid()  # (B, L), Eq. 4
        weight = weight * (item_seq != 0)
        pooled = (weight.unsqueeze(-1) * features).sum(1) / weight.sum(1, keepdim=True)  # Eq. 5
        return user + pooled + items.sum(1)

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.output_embedding.weight
