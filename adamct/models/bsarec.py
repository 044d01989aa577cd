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
    embed_from_the_end,
    initialize,
    item_embedding,
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

    The filter acts on the Fourier transform of a history over ``max_len`` positions. Its first ``num_low_frequencies``
    frequencies are low; the mean is the first of them. The filter is linear, and computed as a matrix over positions.
    Each position sees all others through it, later ones too. So each prefix of a history needs a pass of its own, and
    the model has no ``all_positions``.

    Histories end at the last position, as in the authors' code: a position is the distance from the prediction. That
    code pads histories to ``max_len`` with a trained vector. The filter sees this vector, and the softmax has it as a
    class. Here padding is 0 to the filter and takes part in nothing. The authors also train on each user's first item,
    predicted from padding alone, and only on the last ``max_len`` training items of a user. Their blocks begin
    with equal weights of the frequencies. On Beauty the best validation NDCG@10 among unseen items in 34 epochs is
    .0726; in the authors' log it is .0729.
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
        hidden, is_item, position = embed_from_the_end(batch, self.item_embedding, self.position_embedding)
        hidden, max_len = self.dropout(self.norm(hidden)), self.position_embedding.num_embeddings
        low_pass = low_pass_filter(position, max_len, self.num_low_frequencies, hidden.dtype)
        low_pass, mask = low_pass * is_item[:, None], causal_mask(is_item)  # padding is 0 to the filter
        *inner, last = self.blocks
        for block in inner:
            hidden = block(hidden, low_pass, mask)
        return last(hidden, low_pass, mask, last_only=True)[:, 0]

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_embedding.weight
