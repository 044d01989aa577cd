"""FMLP-Rec: learned filters in the frequency domain (Zhou et al., WWW 2022).

"Filter-enhanced MLP is All You Need for Sequential Recommendation".
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.base import VectorModel
from adamct.models.layers import (
    INIT_STD,
    LAYER_NORM_EPS,
    FeedForward,
    circular_convolution,
    embed_from_the_end,
    initialize,
    item_embedding,
)
from adamct.values import DropoutRate, PositiveInt


class FilterBlock(nn.Module):
    """FFN(LN(x + Dpt(F^-1(W * F(x))))), where F is the Fourier transform over the positions.

    W has a complex weight for each frequency and feature. By the convolution theorem the filter is a circular
    convolution over ``max_len`` positions. Padding is 0 to it.
    """

    def __init__(self, max_len: int, hidden_size: int, inner_size: int, dropout: float):
        super().__init__()
        self.max_len = max_len
        self.weight = nn.Parameter(torch.randn(2, max_len // 2 + 1, hidden_size) * INIT_STD)  # real, imaginary parts
        self.dropout = kernels.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.feed_forward = FeedForward(hidden_size, inner_size, dropout)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        is_item: Bool[Tensor, "B N"],
        position: Int[Tensor, " N"],
        last_only: bool = False,
    ) -> Float[Tensor, "B out D"]:
        """Return the output at the last position or at all."""
        real, imaginary = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
        matrix = circular_convolution(torch.complex(real, imaginary), self.max_len, position).to(x.dtype)  # (N, N, D)
        items = x * is_item.unsqueeze(-1).to(x.dtype)
        if last_only:
            matrix, x = matrix[-1:], x[:, -1:]
        filtered = torch.einsum("ijd,bjd->bid", matrix, items)
        return self.feed_forward(self.norm(x + self.dropout(filtered)))


class FMLPRec(VectorModel):
    """Items and positions, blocks of a filter and a feed-forward network, and scores with the item embeddings.

    A filter mixes all positions of a history, later ones too. So each prefix of a history needs a pass of its own, and
    the model has no ``all_positions``.

    Histories end at the last position, as in the authors' code: a position is the distance from the prediction. That
    code pads histories to ``max_len`` with a random vector that is never trained, and the filter sees it. Here padding
    is 0 to the filter and takes part in nothing. Training uses the cross-entropy over all items, not the authors'
    binary cross-entropy with one negative. The authors also train on each user's first item, predicted from
    padding alone, and only on the last ``max_len`` training items of a user. Their blocks begin with equal filters.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        inner_size: PositiveInt,
        dropout: DropoutRate,
    ):
        super().__init__()
        self.item_embedding = item_embedding(spec, hidden_size)
        self.position_embedding = nn.Embedding(spec.max_len, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.dropout = kernels.Dropout(dropout)
        self.blocks = nn.ModuleList(
            FilterBlock(spec.max_len, hidden_size, inner_size, dropout) for _ in range(num_layers)
        )
        self.apply(initialize)

    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        hidden, is_item, position = embed_from_the_end(batch, self.item_embedding, self.position_embedding)
        hidden = self.dropout(self.norm(hidden))
        *inner, last = self.blocks
        for block in inner:
            hidden = block(hidden, is_item, position)
        return last(hidden, is_item, position, last_only=True)[:, 0]

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_embedding.weight
