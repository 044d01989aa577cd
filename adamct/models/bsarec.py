"""BSARec: self-attention beside a filter of low and high frequencies (Shin et al., AAAI 2024).

"An Attentive Inductive Bias for Sequential Recommendation Beyond the Self-Attention".
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.base import NextItemModel
from adamct.models.layers import (
    LAYER_NORM_EPS,
    FeedForward,
    MultiHeadAttention,
    causal_mask,
    circulant,
    initialize,
    inverse_fourier,
    item_embedding,
    last_items,
)
from adamct.values import DropoutRate, PositiveInt, Probability


def low_pass(
    is_item: Bool[Tensor, "B N"], max_len: int, num_low_frequencies: int, dtype: torch.dtype
) -> Float[Tensor, "B N N"]:
    """Return the matrices that keep the ``num_low_frequencies`` lowest frequencies of histories of ``max_len`` positions.

    The columns of padding are 0.
    """
    cosines, _ = inverse_fourier(max_len, is_item.device, dtype)
    kernel = cosines[:, :num_low_frequencies].sum(1)  # its Fourier transform is 1 at low frequencies and else 0
    return circulant(kernel, is_item.shape[1]) * is_item[:, None].to(dtype)


class FrequencyRescaler(nn.Module):
    """LN(x + Dpt(LFC(x) + beta HFC(x))): x is LFC(x), its low frequencies, plus HFC(x), the rest.

    beta is the square of a parameter of each feature, as in the authors' code.
    """

    def __init__(self, hidden_size: int, dropout: float):
        super().__init__()
        self.sqrt_beta = nn.Parameter(torch.randn(hidden_size))
        self.dropout = kernels.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)

    def forward(
        self, x: Float[Tensor, "B N D"], low_pass: Float[Tensor, "B N N"], count: int
    ) -> Float[Tensor, "B count D"]:
        """Return the output at the last ``count`` positions."""
        low, x = low_pass[:, -count:] @ x, x[:, -count:]
        return self.norm(x + self.dropout(low + self.sqrt_beta**2 * (x - low)))


class BSARecBlock(nn.Module):
    """FFN(alpha filtered + (1 - alpha) attended), where attended is LN(x + Dpt(MH(x) W + b)) by causal attention."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        inner_size: int,
        filter_weight: float,
        dropout: float,
        attn_dropout: float,
    ):
        super().__init__()
        self.filter_weight = filter_weight
        self.rescaler = FrequencyRescaler(hidden_size, dropout)
        self.attention = MultiHeadAttention(hidden_size, num_heads, attn_dropout, bias=True)
        self.output = nn.Linear(hidden_size, hidden_size)
        self.attention_norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.dropout = kernels.Dropout(dropout)
        self.feed_forward = FeedForward(hidden_size, inner_size, dropout)

    def forward(
        self, x: Float[Tensor, "B N D"], low_pass: Float[Tensor, "B N N"], mask: Float[Tensor, "B 1 N N"], count: int
    ) -> Float[Tensor, "B count D"]:
        """Return the output at the last ``count`` positions."""
        filtered = self.rescaler(x, low_pass, count)
        attended = self.output(self.attention(x, mask)[:, -count:])
        attended = self.attention_norm(x[:, -count:] + self.dropout(attended))
        return self.feed_forward(torch.lerp(attended, filtered, self.filter_weight))


class BSARec(NextItemModel):
    """Items and positions, blocks of a filter beside attention, and scores with the item embeddings.

    The filter divides the Fourier transform of a history over ``max_len`` positions: frequencies below ``num_low_frequencies`` are
    low. It is computed as a matrix over positions, which is the same in any part of a history. Every position sees all
    others through it, later ones too. So each prefix needs a pass of its own, and ``all_positions`` is impossible.

    Histories end at the last position, as in the authors' code, so that a position is a distance from the prediction.
    The authors' code gives padding a vector, a position, and a class of the softmax, and the filter sees it. Here
    padding is 0 to the filter and takes part in nothing. Their training also has each user's first item as a target,
    predicted from padding alone.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        num_heads: PositiveInt,
        inner_size: PositiveInt,
        num_low_frequencies: PositiveInt,
        filter_weight: Probability,
        dropout: DropoutRate,
        attn_dropout: DropoutRate,
    ):
        super().__init__()
        self.num_low_frequencies = num_low_frequencies
        self.item_embedding = item_embedding(spec, hidden_size)
        self.position_embedding = nn.Embedding(spec.max_len, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.dropout = kernels.Dropout(dropout)
        self.blocks = nn.ModuleList(
            BSARecBlock(hidden_size, num_heads, inner_size, filter_weight, dropout, attn_dropout)
            for _ in range(num_layers)
        )
        self.apply(initialize)

    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        length, max_len = batch.item_seq.shape[1], self.position_embedding.num_embeddings
        item_seq = last_items(batch.item_seq, batch.seq_len, length)  # left-padded
        hidden = self.item_embedding(item_seq) + self.position_embedding.weight[max_len - length :]
        hidden = self.dropout(self.norm(hidden))
        is_item = item_seq != 0
        filters, mask = low_pass(is_item, max_len, self.num_low_frequencies, hidden.dtype), causal_mask(is_item)
        *inner, last = self.blocks
        for block in inner:
            hidden = block(hidden, filters, mask, length)
        return last(hidden, filters, mask, 1)[:, 0]

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_embedding.weight
