"""What two or more models are made of."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from adamct.batch import DataSpec
from adamct.errors import require

LAYER_NORM_EPS = 1e-12
INIT_STD = 0.02

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "swish": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def initialize(module: nn.Module) -> None:
    """Normal(0, 0.02) for linears and embeddings and 0 for biases, as BERT does; the padding row stays 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()


def item_embedding(spec: DataSpec, hidden_size: int) -> nn.Embedding:
    """A vector for each item; that of padding is 0."""
    require(hidden_size >= 1, f"model.hidden_size={hidden_size}: must be at least 1")
    return nn.Embedding(spec.num_items + 1, hidden_size, padding_idx=0)


def at(hidden: Float[Tensor, "B N D"], position: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
    """Each row's vector at its position."""
    return hidden[torch.arange(len(hidden), device=hidden.device), position]


def latest(item_seq: Int[Tensor, "B N"], seq_len: Int[Tensor, " B"], count: int) -> Int[Tensor, "B count"]:
    """The last ``count`` items of each history, left-padded with 0."""
    position = seq_len[:, None] - count + torch.arange(count, device=item_seq.device)  # (B, count)
    return item_seq.gather(1, position.clamp(min=0)).masked_fill(position < 0, 0)


def causal(is_item: Bool[Tensor, "B N"]) -> Bool[Tensor, "B 1 N N"]:
    """Which keys a query may attend to: items that are not later than it."""
    length = is_item.shape[1]
    not_later = torch.ones(length, length, dtype=torch.bool, device=is_item.device).tril()
    return (not_later & is_item[:, None, :])[:, None]


class Dropout(nn.Dropout):
    """Zeroes elements with probability p in training and scales the others by 1 / (1 - p).

    On the CPU it draws 16 random bits an element, four elements a number of torch's generator, which takes a fraction
    of the time of the Bernoulli numbers that torch draws; p is rounded to a multiple of 2^-16.
    """

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if not self.training or self.p == 0 or not input.is_cpu:
            return super().forward(input)
        numbers = torch.empty(-(-input.numel() // 4), dtype=torch.long).random_(torch.iinfo(torch.long).min, None)
        bits = numbers.view(torch.int16)[: input.numel()].view(input.shape)  # from -2^15 to 2^15 - 1
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        return input * (bits >= dropped - 2**15).to(input.dtype).mul_(2**16 / (2**16 - dropped))


class MultiHeadAttention(nn.Module):
    """Concat(head_1, ..., head_H) with head = Dpt(softmax(Q K^T / sqrt(D/H))) V; what follows is the model's."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float, bias: bool):
        super().__init__()
        divides = num_heads >= 1 and hidden_size % num_heads == 0
        require(divides, f"model.num_heads={num_heads}: must divide model.hidden_size={hidden_size}")
        require(0 <= dropout < 1, f"model.attn_dropout={dropout}: must be in [0, 1)")
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size, bias)

    def forward(self, x: Float[Tensor, "B N D"], allowed: Bool[Tensor, "B 1 queries N"]) -> Float[Tensor, "B N D"]:
        qkv = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1))  # (B, N, 3, H, D/H)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, N, D/H)
        if self.training and x.is_cpu:  # where torch has no fused kernel with dropout either
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # (B, H, N, N)
            heads = self.dropout(scores.masked_fill(~allowed, -torch.inf).softmax(-1)) @ value
        else:
            dropout = self.dropout.p if self.training else 0.0
            heads = F.scaled_dot_product_attention(query, key, value, allowed, dropout)
        return heads.transpose(1, 2).flatten(2)


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
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B N D"], allowed: Bool[Tensor, "B 1 queries N"]) -> Float[Tensor, "B N D"]:
        x = self.attention_norm(x + self.dropout(self.output(self.attention(x, allowed))))
        return self.norm(x + self.dropout(self.outer(F.gelu(self.inner(x)))))
