"""The parts that two or more models share."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Inexact, Int
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.errors import require

LAYER_NORM_EPS = 1e-12
MASKED_SCORE = -torch.finfo(torch.bfloat16).max
"""The term added to the attention scores of padding, near the end of the range of bfloat16 and all wider types."""
INIT_STD = 0.02

Activation = Literal["gelu", "relu", "swish", "tanh", "sigmoid"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "swish": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def initialize(module: nn.Module) -> None:
    """Draw linears and embeddings from Normal(0, 0.02) and set biases and the padding row to 0.

    BERT truncates this distribution at two standard deviations.
    """
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()


def item_embedding(spec: DataSpec, hidden_size: int) -> nn.Embedding:
    """Make an embedding with a vector for each item; the vector of padding is 0."""
    return nn.Embedding(spec.num_items + 1, hidden_size, padding_idx=0)


def select_positions(hidden: Float[Tensor, "B N D"], position: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
    """Return the vector at one position of each row."""
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), position]


def last_items(
    item_seq: Int[Tensor, "B N"], seq_len: Int[Tensor, " B"], count: int | None = None
) -> Int[Tensor, "B count"]:
    """Return the last ``count`` items of each history, left-padded with 0; None for N."""
    count = item_seq.shape[1] if count is None else count
    position = seq_len[:, None] - count + torch.arange(count, device=item_seq.device)  # (B, count)
    return item_seq.gather(1, position.clamp(min=0)).masked_fill(position < 0, 0)


def embed_from_the_end(
    batch: Batch, item_embedding: nn.Embedding, position_embedding: nn.Embedding
) -> tuple[Float[Tensor, "B N D"], Bool[Tensor, "B N"], Int[Tensor, " N"]]:
    """Embed histories that end at the last position, so that a position is the distance from the prediction.

    Returns:
        The sum of the embeddings of items and positions, whether there is an item at each place, and the positions.
    """
    item_seq, max_len = last_items(batch.item_seq, batch.seq_len), position_embedding.num_embeddings
    position = torch.arange(max_len - item_seq.shape[1], max_len, device=item_seq.device)
    return item_embedding(item_seq) + position_embedding(position), item_seq != 0, position


def padding_mask(is_item: Bool[Tensor, "B N"]) -> Float[Tensor, "B 1 1 N"]:
    """Return a mask to be added to attention scores: 0 for items, `MASKED_SCORE` for padding.

    The mask is of floats because torch's CPU kernels for booleans are not vectorised.
    """
    return (is_item.to(torch.get_default_dtype()) - 1).mul_(-MASKED_SCORE)[:, None, None]


def causal_mask(is_item: Bool[Tensor, "B N"]) -> Float[Tensor, "B 1 N N"]:
    """Return a `padding_mask` that also gives later keys no weight."""
    length = is_item.shape[1]
    later = torch.full((length, length), -torch.inf, device=is_item.device).triu(1)
    return padding_mask(is_item) + later


def circular_convolution(
    spectrum: Inexact[Tensor, "F ..."], max_len: int, position: Int[Tensor, " N"]
) -> Float[Tensor, "N N ..."]:
    """Return the matrix that multiplies the Fourier transform of ``max_len`` positions with a spectrum.

    By the convolution theorem this is a circular convolution, whose kernel is the inverse transform of the spectrum.

    Args:
        spectrum: the factors of the frequencies 0 to ``max_len // 2``, real or complex, not in half precision.
        max_len: the number of positions that are transformed.
        position: the positions that the matrix is for; the input is 0 at all others.
    """
    kernel = torch.fft.irfft(spectrum, max_len, dim=0)
    return kernel[(position[:, None] - position) % max_len]


class ConvolutionOverPositions(kernels.Conv1d):
    """A `Conv1d` whose input and output have the channels last."""

    def forward(self, input: Float[Tensor, "B N D"]) -> Float[Tensor, "B M D2"]:
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class MultiHeadAttention(nn.Module):
    """Concat(head_1, ..., head_H) with head = Dpt(softmax(Q K^T / sqrt(D/H))) V, without an output projection."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float, bias: bool):
        super().__init__()
        divides = hidden_size % num_heads == 0
        require(divides, f"model.num_heads={num_heads}: must divide model.hidden_size={hidden_size}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size, bias)

    def forward(self, x: Float[Tensor, "B N D"], mask: Float[Tensor, "B 1 queries N"]) -> Float[Tensor, "B N D"]:
        heads = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = kernels.unbind(heads)  # each (B, H, N, D/H)
        mask = mask.to(x.dtype)  # the weights' type, which is not always torch's default
        dropout = self.dropout if self.training else 0.0
        attended = kernels.scaled_dot_product_attention(query, key, value, mask, dropout)
        return attended.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """LN(x + Dpt(GELU(x W_1 + b_1) W_2 + b_2))."""

    def __init__(self, hidden_size: int, inner_size: int, dropout: float):
        super().__init__()
        self.inner = nn.Linear(hidden_size, inner_size)
        self.outer = nn.Linear(inner_size, hidden_size)
        self.dropout = kernels.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return self.norm(x + self.dropout(self.outer(F.gelu(self.inner(x)))))


class TransformerLayer(nn.Module):
    """The encoder layer of BERT: A = LN(x + Dpt(MH(x))), LN(A + Dpt(GELU(A W_1 + b_1) W_2 + b_2))."""

    def __init__(self, hidden_size: int, num_heads: int, inner_size: int, dropout: float, attn_dropout: float):
        super().__init__()
        self.attention = MultiHeadAttention(hidden_size, num_heads, attn_dropout, bias=True)
        self.output = nn.Linear(hidden_size, hidden_size)
        self.attention_norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.inner = nn.Linear(hidden_size, inner_size)
        self.outer = nn.Linear(inner_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.dropout = kernels.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B N D"], mask: Float[Tensor, "B 1 queries N"]) -> Float[Tensor, "B N D"]:
        x = self.attention_norm(x + self.dropout(self.output(self.attention(x, mask))))
        return self.norm(x + self.dropout(self.outer(F.gelu(self.inner(x)))))
