"""BSARec: self-attention beside a filter of low and high frequencies (Shin et al., AAAI 2024).

"An Attentive Inductive Bias for Sequential Recommendation Beyond the Self-Attention".
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.base import VectorModel
from adamct.models.layers import (
    LAYER_NORM_EPS,
    FeedForward,
    MultiHeadAttention,
    causal_mask,
    circular_convolution,
    initialize,
    item_embedding,
    last_items,
)
from adamct.values import DropoutRate, PositiveInt, Probability


def low_pass_filter(
    position: Int[Tensor, " N"], max_len: int, num_frequencies: int, dtype: torch.dtype
) -> Float[Tensor, "N N"]:
    """Return the matrix that keeps the lowest frequencies of ``max_len`` positions, for some of them."""
    is_low = torch.arange(max_len // 2 + 1, device=position.device) < num_frequencies
    spectrum = is_low.to(torch.promote_types(dtype, torch.float32))
    return circular_convolution(spectrum, max_len, position).to(dtype)


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
        self, x: Float[Tensor, "B N D"], low_pass: Float[Tensor, "B N N"], last_only: bool
    ) -> Float[Tensor, "B out D"]:
        """Return the output at the last position or at all."""
        if last_only:
            low, x = low_pass[:, -1:] @ x, x[:, -1:]
        else:
            low = low_pass @ x
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
        self,
        x: Float[Tensor, "B N D"],
        low_pass: Float[Tensor, "B N N"],
        mask: Float[Tensor, "B 1 N N"],
        last_only: bool = False,
    ) -> Float[Tensor, "B out D"]:
        """Return the output at the last position or at all."""
        filtered, attended = self.rescaler(x, low_pass, last_only), self.attention(x, mask)
        if last_only:
            x, attended = x[:, -1:], attended[:, -1:]
        attended = self.attention_norm(x + self.dropout(self.output(attended)))
        return self.feed_forward(torch.lerp(attended, filtered, self.filter_weight))


class BSARec(VectorModel):
    """Items and positions, blocks of a filter beside attention, and scores with the item embeddings.

    The filter acts on the Fourier transform of a history over ``max_len`` positions, where the first
    ``num_low_frequencies`` are low, the mean among them. It is a projection, and computed as a matrix over the
    positions. Each position sees all others through it, later ones too. So each prefix of a history needs a pass of its
    own, and the model has no ``all_positions``.

    Histories end at the last position, as in the authors' code: a position is the distance from the prediction. That
    code pads histories to ``max_len`` with a trained vector, which the filter sees and the softmax has as a class. Here
    padding is 0 to the filter and takes part in nothing. Its training also predicts each user's first item, from
    padding alone, and leaves out what is before a user's last ``max_len`` training items.
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
        item_seq, max_len = last_items(batch.item_seq, batch.seq_len), self.position_embedding.num_embeddings
        position = torch.arange(max_len - item_seq.shape[1], max_len, device=item_seq.device)
        hidden = self.dropout(self.norm(self.item_embedding(item_seq) + self.position_embedding(position)))
        is_item = item_seq != 0
        low_pass = low_pass_filter(position, max_len, self.num_low_frequencies, hidden.dtype) * is_item[:, None]
        mask = causal_mask(is_item)
        *inner, last = self.blocks
        for block in inner:
            hidden = block(hidden, low_pass, mask)
        return last(hidden, low_pass, mask, last_only=True)[:, 0]

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_embedding.weight
