"""Caser: convolutions over the last items (Tang and Wang, WSDM 2018; equation numbers are the paper's).

"Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding".
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.base import VectorModel
from adamct.models.layers import item_embedding, last_items
from adamct.values import DropoutRate, PositiveInt


class Caser(VectorModel):
    """Convolutions over the last L items, and the user: scores are W' [z; P_u] + b' (Eq. 10).

    Horizontal filters of every height from 1 to L slide over the items and keep their largest response (Eq. 3-5).
    Vertical filters weight all L items together (Eq. 6-8). W' is a separate output table.

    The authors' code adds a bias to the filters of Eq. 6, and predicts the next three items instead of one.

    RecBole takes L = ``max_len``, ten times the paper's. It maps [z; P_u] to the hidden size by a linear layer and a
    ReLU, and scores with the input embeddings, without b'.
    """

    uses_user_embedding = True

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        window: PositiveInt,
        num_horizontal: PositiveInt,
        num_vertical: PositiveInt,
        dropout: DropoutRate,
    ):
        super().__init__()
        self.window = window
        self.item_embedding = item_embedding(spec, hidden_size)
        self.user_embedding = nn.Embedding(spec.num_users, hidden_size)
        self.horizontal = nn.ModuleList(
            nn.Conv1d(hidden_size, num_horizontal, height) for height in range(1, window + 1)
        )
        self.vertical = nn.Linear(window, num_vertical, bias=False)
        features = window * num_horizontal + hidden_size * num_vertical
        self.dropout = kernels.Dropout(dropout)
        self.dense = nn.Linear(features, hidden_size)
        self.output_embedding = item_embedding(spec, 2 * hidden_size)
        self.output_bias = nn.Parameter(torch.zeros(spec.num_items + 1))
        for embedding in (self.item_embedding, self.user_embedding, self.output_embedding):
            nn.init.normal_(embedding.weight, std=1 / embedding.embedding_dim)
        with torch.no_grad():
            self.item_embedding.weight[0] = 0

    def queries(self, batch: Batch) -> Float[Tensor, "B D2"]:
        items = self.item_embedding(last_items(batch.item_seq, batch.seq_len, self.window)).transpose(1, 2)  # (B, D, L)
        horizontal = [F.relu(convolution(items)).amax(-1) for convolution in self.horizontal]
        features = torch.cat([self.vertical(items).flatten(1), *horizontal], 1)
        z = F.relu(self.dense(self.dropout(features)))  # Eq. 9
        return torch.cat([z, self.user_embedding(batch.user)], 1)

    def item_table(self) -> Float[Tensor, "V D2"]:
        return self.output_embedding.weight

    def item_bias(self) -> Float[Tensor, " V"]:
        return self.output_bias
