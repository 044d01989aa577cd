"""AdaMCT: Adaptive Mixture of CNN-Transformer (Jiang et al., CIKM '23); equation numbers are the paper's.

YAML chooses the parts of a layer. ``conf/model/adamct.yaml`` takes the parts of the authors' released code, which
produced the paper's Table 2. ``conf/model/adamct_paper.yaml`` takes those of the equations. The docstrings say where
the two differ. Both mask padding, which the released code does not: see `AdaMCT`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.adamct_layers import Coefficient, Hyperparameters, Mixture, Projection, SqueezeExcitation
from adamct.models.base import VectorModel
from adamct.models.layers import (
    ACTIVATIONS,
    INIT_STD,
    LAYER_NORM_EPS,
    Activation,
    ConvolutionOverPositions,
    MultiHeadAttention,
    causal_mask,
    initialize,
    item_embedding,
    select_positions,
)
from adamct.values import DropoutRate, OddInt, PositiveInt


class EntryNorm(nn.Sequential):
    """Dpt(LN(item + position)), which only the released code has."""

    def __init__(self, hparams: Hyperparameters):
        super().__init__(nn.LayerNorm(hparams.hidden_size, LAYER_NORM_EPS), kernels.Dropout(hparams.dropout))


class SharedInput(nn.Module):
    """One projection for both branches, as in the released code."""

    def __init__(self, hparams: Hyperparameters):
        super().__init__()
        self.projection = Projection(hparams)

    def forward(self, hidden: Float[Tensor, "B N D"]) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B N D"]]:
        projected = self.projection(hidden)
        return projected, projected


class SelfAttention(nn.Module):
    """The global branch: causal multi-head self-attention, LN(Dpt(Concat(head_1..h) W_O)) (Eq. 2-4, 6).

    The released code has no dropout after W_O, and a bias in each projection. Keys that are padding are masked as well.
    """

    def __init__(self, hparams: Hyperparameters, output_dropout: DropoutRate, bias: bool):
        super().__init__()
        self.attention = MultiHeadAttention(hparams.hidden_size, hparams.num_heads, hparams.attn_dropout, bias)
        self.output = nn.Linear(hparams.hidden_size, hparams.hidden_size, bias)
        self.dropout = kernels.Dropout(output_dropout)
        self.norm = nn.LayerNorm(hparams.hidden_size, LAYER_NORM_EPS)

    def forward(self, x: Float[Tensor, "B N D"], mask: Float[Tensor, "B 1 N N"]) -> Float[Tensor, "B N D"]:
        return self.norm(self.dropout(self.output(self.attention(x, mask))))


class Convolution(nn.Module):
    """The local branch as released: Φ(LN(Conv(x))), looking both ways over zero padding, no dropout."""

    def __init__(self, hparams: Hyperparameters, bias: bool):
        super().__init__()
        size, kernel_size = hparams.hidden_size, hparams.kernel_size
        self.convolution = ConvolutionOverPositions(size, size, kernel_size, padding=kernel_size // 2, bias=bias)
        self.norm = nn.LayerNorm(size, LAYER_NORM_EPS)
        self.activation = ACTIVATIONS[hparams.activation]

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return self.activation(self.norm(self.convolution(x)))


class SigmoidGate(SqueezeExcitation):
    """SEAtt with a sigmoid: several positions can be fully active at once (Eq. 13)."""

    def forward(self, x: Float[Tensor, "B N D"], visible: Bool[Tensor, "B N"]) -> Float[Tensor, "B N D"]:
        return x * self.logits(x, visible).sigmoid().unsqueeze(-1)


class AdaptiveMixture(Mixture):
    """α local + (1 - α) global (Eq. 17)."""

    def __init__(self, hparams: Hyperparameters):
        super().__init__()
        self.coefficient = Coefficient(hparams.hidden_size)

    def forward(self, hidden, local_out, global_out, visible):
        weight = self.coefficient(hidden, visible).to(local_out.dtype)  # the types differ in half precision
        return torch.lerp(global_out, local_out, weight)


class NoHead(nn.Identity):
    """The head of the released code: scores are H E^T."""

    bias = None


class Parts(NamedTuple):
    """The constructors of the model's parts. Each layer calls those of its own parts."""

    entry: Callable[[Hyperparameters], nn.Module]
    """Between the embeddings and the first layer."""
    inputs: Callable[[Hyperparameters], nn.Module]
    local_branch: Callable[[Hyperparameters], nn.Module]
    global_branch: Callable[[Hyperparameters], nn.Module]
    local_gate: Callable[[Hyperparameters], nn.Module]
    global_gate: Callable[[Hyperparameters], nn.Module]
    mixture: Callable[[Hyperparameters], Mixture]
    head: Callable[[Hyperparameters], nn.Module]


class AdaMCTLayer(nn.Module):
    """H^l = LN(H^{l-1} + Dpt(Linear(Mix(local, global)))) (Eq. 1, 11, 17, 18)."""

    def __init__(self, parts: Parts, hparams: Hyperparameters):
        super().__init__()
        self.inputs = parts.inputs(hparams)
        self.local_branch = parts.local_branch(hparams)
        self.global_branch = parts.global_branch(hparams)
        self.local_gate = parts.local_gate(hparams)
        self.global_gate = parts.global_gate(hparams)
        self.mixture = parts.mixture(hparams)
        self.output = nn.Linear(hparams.hidden_size, hparams.hidden_size)
        self.dropout = kernels.Dropout(hparams.dropout)
        self.norm = nn.LayerNorm(hparams.hidden_size, LAYER_NORM_EPS)

    def forward(
        self,
        hidden: Float[Tensor, "B N D"],
        mask: Float[Tensor, "B 1 N N"],
        visible: Bool[Tensor, "B N"],
        position: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B out D"]:
        """Return the output at each row's ``position``, or at all positions if it is None."""
        local_in, global_in = self.inputs(hidden)
        local_out = self.local_branch(local_in * visible.unsqueeze(-1).to(local_in.dtype))
        local_out = self.local_gate(local_out, visible)
        global_out = self.global_gate(self.global_branch(global_in, mask), visible)
        residual = hidden
        if position is not None:
            residual, local_out, global_out = (
                select_positions(x, position)[:, None] for x in (hidden, local_out, global_out)
            )
        mixed = self.mixture(hidden, local_out, global_out, visible)
        return self.norm(residual + self.dropout(self.output(mixed)))


class AdaMCT(VectorModel):
    """Embeddings, L layers, and the last item's hidden vector as the query (Sections 3.3 to 3.5).

    The paper does not mention padding. The key ``padding`` chooses how the model treats it:

    - ``masked``: padding takes part in nothing. The convolution sees zeros there, SEAtt's summary is 0 there, and the
      mixture averages over real positions, so a batch can be trimmed to its longest history.
    - ``dense``: every batch is padded to ``max_len``, and only attention masks the padding. The scores are those of the
      released code with the same weights. The vector of padding is 0, and the softmax of the loss leaves padding out.
    - ``released``: as dense, but padding has a vector and is a class of the softmax, as in the released code. That code
      initialises this vector like an item's. Padding positions look it up, but only the softmax trains it.

    Masking changes the scores of the same weights. On Beauty, with weights that were trained masked for 20 epochs,
    masked and dense scores differ by .23 on average; their standard deviation is 1.8.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        num_heads: PositiveInt,
        kernel_size: OddInt,
        reduction: PositiveInt,
        activation: Activation,
        dropout: DropoutRate,
        attn_dropout: DropoutRate,
        padding: Literal["masked", "dense", "released"],
        parts: Parts,
    ):
        super().__init__()
        hparams = Hyperparameters(
            num_items=spec.num_items,
            max_len=spec.max_len,
            hidden_size=hidden_size,
            num_heads=num_heads,
            kernel_size=kernel_size,
            reduction=reduction,
            activation=activation,
            dropout=dropout,
            attn_dropout=attn_dropout,
        )
        self.pad_to_max_len = padding != "masked"
        self.padding_is_a_class = padding == "released"
        self.item_embedding = item_embedding(spec, hidden_size)
        self.position_embedding = nn.Embedding(spec.max_len, hidden_size)
        self.entry = parts.entry(hparams)
        self.layers = nn.ModuleList(AdaMCTLayer(parts, hparams) for _ in range(num_layers))
        self.head = parts.head(hparams)
        self.apply(initialize)
        if padding == "released":
            with torch.no_grad():
                self.item_embedding.weight[0].normal_(std=INIT_STD)

    def hidden_states(
        self, item_seq: Int[Tensor, "B N"], position: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B out D"]:
        """Return the last layer's output H^L at each row's ``position``, or at all positions if it is None.

        With ``padding=masked`` the output at padding has no meaning.
        """
        is_item = item_seq != 0
        mask, visible = causal_mask(is_item), torch.ones_like(is_item) if self.pad_to_max_len else is_item
        hidden = self.entry(self.item_embedding(item_seq) + self.position_embedding.weight[: item_seq.shape[1]])
        *inner, last = self.layers
        for layer in inner:
            hidden = layer(hidden, mask, visible)
        return last(hidden, mask, visible, position)

    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        return self.head(self.hidden_states(batch.item_seq, batch.seq_len - 1)[:, 0])

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_embedding.weight

    def item_bias(self) -> Float[Tensor, " V"] | None:
        return cast(Tensor | None, self.head.bias)
