"""NextItNet: dilated causal convolutions (Yuan et al., WSDM 2019).

"A Simple Convolutional Generative Network for Next Item Recommendation".
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.causal import CausalModel
from adamct.models.layers import ConvolutionOverPositions, initialize, item_embedding
from adamct.values import DropoutRate, PositiveInt

NORM_EPS = 1e-8  # as in the authors' code and RecBole


class CausalConvolution(ConvolutionOverPositions):
    """A dilated convolution that sees no later position: zeros stand before the first (Section 3.3)."""

    def forward(self, input: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return super().forward(F.pad(input, (0, 0, (self.kernel_size[0] - 1) * self.dilation[0], 0)))


class ResidualBlock(nn.Module):
    """x + ReLU(LN(conv_2l(ReLU(LN(conv_l(x)))))), with the dilations l and 2l (Section 3.4, Figure 3b)."""

    def __init__(self, hidden_size: int, kernel_size: int, dilation: int):
        super().__init__()
        self.first = CausalConvolution(hidden_size, hidden_size, kernel_size, dilation=dilation)
        self.first_norm = nn.LayerNorm(hidden_size, NORM_EPS)
        self.second = CausalConvolution(hidden_size, hidden_size, kernel_size, dilation=2 * dilation)
        self.second_norm = nn.LayerNorm(hidden_size, NORM_EPS)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return x + F.relu(self.second_norm(self.second(F.relu(self.first_norm(self.first(x))))))


class NextItNet(CausalModel):
    """Embeddings, dilated residual blocks, and a softmax layer with a separate table and bias (Section 3.5).

    The authors' code applies a ReLU before the softmax layer, which the paper does not mention. This model leaves it
    out. On Beauty, validation NDCG@10 after four epochs is .253 with it and .252 without.

    RecBole puts a linear layer after the blocks and scores with the input embeddings. On Beauty, without dropout, the
    best validation NDCG@10 of eight epochs is .311 that way and .280 this way. RecBole also reads the state at the last
    of ``max_len`` positions, which is after the padding. This model reads it at the last item.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        kernel_size: PositiveInt,
        dilations: Sequence[PositiveInt],
        dropout: DropoutRate,
        all_positions: bool,
    ):
        super().__init__(all_positions)
        self.item_embedding = item_embedding(spec, hidden_size)
        self.blocks = nn.ModuleList(ResidualBlock(hidden_size, kernel_size, dilation) for dilation in dilations)
        self.dropout = kernels.Dropout(dropout)
        self.output_embedding = item_embedding(spec, hidden_size)
        self.output_bias = nn.Parameter(torch.zeros(spec.num_items + 1))
        self.apply(initialize)

    def states(self, batch: Batch) -> Float[Tensor, "B N D"]:
        hidden = self.dropout(self.item_embedding(batch.item_seq))
        for block in self.blocks:
            hidden = block(hidden)
        return hidden

    def output(self, state: Float[Tensor, "M D"]) -> Float[Tensor, "M D"]:
        return self.dropout(state)

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.output_embedding.weight

    def item_bias(self) -> Float[Tensor, " V"]:
        return self.output_bias
