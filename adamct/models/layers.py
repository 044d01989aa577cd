"""What two or more models are made of."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd

from adamct.batch import DataSpec
from adamct.errors import require
from adamct.randomness import random_bits

LAYER_NORM_EPS = 1e-12
LARGEST = torch.finfo(torch.bfloat16).max
"""A number near the end of bfloat16's range, and so of that of all wider types."""
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
    return nn.Embedding(spec.num_items + 1, hidden_size, padding_idx=0)


def at(hidden: Float[Tensor, "B N D"], position: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
    """Each row's vector at its position."""
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), position]


def latest(item_seq: Int[Tensor, "B N"], seq_len: Int[Tensor, " B"], count: int) -> Int[Tensor, "B count"]:
    """The last ``count`` items of each history, left-padded with 0."""
    position = seq_len[:, None] - count + torch.arange(count, device=item_seq.device)  # (B, count)
    return item_seq.gather(1, position.clamp(min=0)).masked_fill(position < 0, 0)


def over_positions(convolution: nn.Conv1d, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B M D2"]:
    """A convolution over N, made as one over two axes: torch takes those with D last as it is, in half the time."""
    weight, (padding, dilation) = convolution.weight.unsqueeze(2), (convolution.padding[0], convolution.dilation[0])
    image = x.transpose(1, 2).unsqueeze(2)  # (B, D, 1, N) in the memory of (B, N, D)
    out = F.conv2d(image, weight, convolution.bias, padding=(0, int(padding)), dilation=(1, dilation))
    return out.squeeze(2).transpose(1, 2)


def padding_mask(is_item: Bool[Tensor, "B N"]) -> Float[Tensor, "B 1 1 N"]:
    """Return what is added to attention scores so that padding gets no weight: 0 for items, -`LARGEST` for padding.

    On a CPU floats are many times faster than booleans here, whose kernels are not vectorised.
    """
    return (is_item.to(torch.get_default_dtype()) - 1).mul_(LARGEST)[:, None, None]


def causal_mask(is_item: Bool[Tensor, "B N"]) -> Float[Tensor, "B 1 N N"]:
    """As `padding_mask`, where a query may not attend to later keys either."""
    length = is_item.shape[1]
    later = torch.full((length, length), -torch.inf, device=is_item.device).triu(1)
    return padding_mask(is_item) + later


class Dropout(nn.Dropout):
    """Zeroes elements with probability p in training and scales the others by 1 / (1 - p).

    On the CPU it draws 16 random bits an element, from a generator of NumPy that torch's generator seeds: a tenth of
    the time of the Bernoulli numbers that torch draws. p is rounded to a multiple of 2^-16.
    """

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if not self.training or self.p == 0 or not input.is_cpu or torch.compiler.is_compiling():
            return super().forward(input)
        numbers = random_bits(-(-input.numel() // 4))
        bits = torch.from_numpy(numbers.view(np.int16)[: input.numel()]).view(input.shape)  # from -2^15 to 2^15 - 1
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        kept = torch.ge(bits, dropped - 2**15, out=torch.empty_like(input, requires_grad=False))  # 0.0 or 1.0
        return input * kept.mul_(2**16 / (2**16 - dropped))


class ShortSoftmax(torch.autograd.Function):
    """Softmax over a last axis of a few elements, for which torch's own on a CPU takes four times as long.

    That one goes row by row; this takes whole tensors, and sums rows by a product with ones. Weights below 1e-30 of
    their row's largest are 0: numbers that underflow, in exp or in the gradients, take a hundred times as long.
    """

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        weights = (scores - scores.amax(-1, keepdim=True)).clamp_(min=-80).exp_()
        weights = torch.threshold_(weights, 1e-30, 0.0)
        weights /= row_sums(weights)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    @custom_bwd(device_type="cpu")
    def backward(ctx: Any, *grads: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        (weights,) = ctx.saved_tensors
        weighted = grads[0] * weights
        return weighted.addcmul_(weights, row_sums(weighted), value=-1)


def row_sums(x: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows 1"]:
    """The sum of each row."""
    return x @ x.new_ones(x.shape[-1], 1)


class SplitHeads(torch.autograd.Function):
    """Queries, keys and values of each head; their gradients are joined by one copy, where autograd makes four."""

    @staticmethod
    def forward(ctx: Any, qkv: Float[Tensor, "B N 3 H S"]) -> tuple[Tensor, ...]:
        return qkv.permute(2, 0, 3, 1, 4).contiguous().unbind()  # each (B, H, N, S)

    @staticmethod
    def backward(ctx: Any, *grads: Float[Tensor, "B H N S"]) -> Float[Tensor, "B N 3 H S"]:
        return torch.stack([grad.transpose(1, 2) for grad in grads], 2)


class MultiHeadAttention(nn.Module):
    """Concat(head_1, ..., head_H) with head = Dpt(softmax(Q K^T / sqrt(D/H))) V; what follows is the model's."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float, bias: bool):
        super().__init__()
        divides = hidden_size % num_heads == 0
        require(divides, f"model.num_heads={num_heads}: must divide model.hidden_size={hidden_size}")
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size, bias)

    def forward(self, x: Float[Tensor, "B N D"], mask: Float[Tensor, "B 1 queries N"]) -> Float[Tensor, "B N D"]:
        mask = mask.to(x.dtype)  # the weights' type, which is not always torch's default
        qkv = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1))  # (B, N, 3, H, D/H)
        query, key, value = SplitHeads.apply(qkv)  # each (B, H, N, D/H)
        if x.is_cpu and not torch.compiler.is_compiling():  # torch's fused kernels are slow there for short histories
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2) + mask  # (B, H, N, N)
            heads = self.dropout(ShortSoftmax.apply(scores)) @ value
        else:
            dropout = self.dropout.p if self.training else 0.0
            heads = F.scaled_dot_product_attention(query, key, value, mask, dropout)
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

    def forward(self, x: Float[Tensor, "B N D"], mask: Float[Tensor, "B 1 queries N"]) -> Float[Tensor, "B N D"]:
        x = self.attention_norm(x + self.dropout(self.output(self.attention(x, mask))))
        return self.norm(x + self.dropout(self.outer(F.gelu(self.inner(x)))))
