"""CORE: a history is a weighted mean of its items (Hou et al., SIGIR 2022; equation numbers are the paper's).

"CORE: Simple and Effective Session-based Recommendation within Consistent Representation Space".
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.base import VectorModel
from adamct.models.layers import LAYER_NORM_EPS, TransformerLayer, causal_mask, initialize, item_embedding
from adamct.values import DropoutRate, PositiveFloat, PositiveInt


class MeanWeights(nn.Module):
    """CORE-ave: equal weights for all items of a history (Eq. 2)."""

    def __init__(self, max_len: int, hidden_size: int):
        super().__init__()

    def forward(self, items: Float[Tensor, "B N D"], is_item: Bool[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        return is_item / is_item.sum(1, keepdim=True)


class TransformerWeights(nn.Module):
    """CORE-trm: item weights softmax(F w) from a transformer over items and positions (Eq. 3, 4)."""

    def __init__(
        self,
        max_len: int,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        num_heads: PositiveInt,
        inner_size: PositiveInt,
        dropout: DropoutRate,
        attn_dropout: DropoutRate,
    ):
        super().__init__()
        self.position_embedding = nn.Embedding(max_len, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.dropout = kernels.Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(hidden_size, num_heads, inner_size, dropout, attn_dropout) for _ in range(num_layers)
        )
        self.score = nn.Linear(hidden_size, 1, bias=False)
        self.apply(initialize)

    def forward(self, items: Float[Tensor, "B N D"], is_item: Bool[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        hidden = self.dropout(self.norm(items + self.position_embedding.weight[: items.shape[1]]))
        mask = causal_mask(is_item)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return self.score(hidden).squeeze(-1).masked_fill(~is_item, -torch.inf).softmax(1)


class CORE(VectorModel):
    """Weighted means of item embeddings (Eq. 1), compared with items by cosine over a temperature (Eq. 6).

    Histories and items share one space: only the weights come from a network. The items of the history and the items
    to be scored have separate dropouts.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        session_dropout: DropoutRate,
        item_dropout: DropoutRate,
        temperature: PositiveFloat,
        weights: Callable[[int, int], nn.Module],
    ):
        super().__init__()
        self.temperature = temperature
        self.item_embedding = item_embedding(spec, hidden_size)
        self.session_dropout = kernels.Dropout(session_dropout)
        self.item_dropout = kernels.Dropout(item_dropout)
        self.weights = weights(spec.max_len, hidden_size)
        nn.init.uniform_(self.item_embedding.weight, -(hidden_size**-0.5), hidden_size**-0.5)
        with torch.no_grad():
            self.item_embedding.weight[0] = 0

    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        items = self.session_dropout(self.item_embedding(batch.item_seq))
        weight = self.weights(items, batch.item_seq != 0)
        return F.normalize((weight.unsqueeze(-1) * items).sum(1), dim=-1) / self.temperature

    def item_table(self) -> Float[Tensor, "V D"]:
        return F.normalize(self.item_dropout(self.item_embedding.weight), dim=-1)
