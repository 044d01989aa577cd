"""LRURec: linear recurrent units (Yue et al., WSDM 2024; equation numbers are the paper's).

"Linear Recurrent Units for Sequential Recommendation".
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.causal import CausalModel
from adamct.models.layers import LAYER_NORM_EPS, initialize, item_embedding
from adamct.values import DropoutRate, PositiveInt

SMALLEST_RADIUS, LARGEST_RADIUS = 0.8, 0.99
"""The ring that |λ| is drawn from."""


class LinearRecurrence(nn.Module):
    """Re(C h_t) where h_t = λ h_{t-1} + γ B x_t and λ = exp(-ν + iθ) (Eq. 4, 5), with biases for B and C.

    The closed form h_t = sum_s λ^{t-s} γ B x_s (Eq. 4) is one product with the powers of λ for each number of the
    state. At these lengths it is faster than the paper's parallel scan (Eq. 6), and padding after a history needs no
    mask. A complex number is a pair of real ones, for half precision and ONNX.
    """

    def __init__(self, hidden_size: int, state_size: int):
        super().__init__()
        self.input = nn.Linear(hidden_size, 2 * state_size)  # B: the real and the imaginary part of each number
        self.output = nn.Linear(2 * state_size, hidden_size)  # C: the real part, and minus the imaginary part
        area = torch.rand(state_size) * (LARGEST_RADIUS**2 - SMALLEST_RADIUS**2) + SMALLEST_RADIUS**2  # |λ|^2
        self.log_decay = nn.Parameter((-area.log() / 2).log())  # log ν
        self.log_angle = nn.Parameter((2 * math.pi * torch.rand(state_size)).log())  # log θ
        self.log_scale = nn.Parameter((1 - area).log() / 2)  # log γ

    def powers(self, position: Int[Tensor, " N"]) -> Float[Tensor, "S N2 N2"]:
        """Return γ λ^{t-s} for all positions t >= s, and 0 for t < s, as real matrices, at least in single precision.

        Args:
            position: the numbers from 0 to N - 1.
        """
        logs = torch.stack([self.log_decay, self.log_angle, self.log_scale])
        logs = logs.to(torch.promote_types(logs.dtype, torch.float32))  # angles reach hundreds of radians
        decay, angle, scale = logs.exp()[..., None, None]  # each (S, 1, 1)
        lag = (position[:, None] - position).clamp(min=0)  # (N, N)
        radius = (scale * (-decay * lag).exp()).tril()
        real, imaginary = radius * (angle * lag).cos(), radius * (angle * lag).sin()
        return torch.cat([torch.cat([real, -imaginary], 2), torch.cat([imaginary, real], 2)], 1)

    def forward(self, x: Float[Tensor, "N B D"]) -> Float[Tensor, "N B D"]:
        length, rows, _ = x.shape
        inputs = torch.addmm(self.input.bias[:, None], self.input.weight, x.flatten(0, 1).T)
        inputs = inputs.view(-1, 2 * length, rows)  # (S, 2 N, B)
        powers = self.powers(torch.arange(length, device=x.device))
        states = powers.to(inputs.dtype) @ inputs
        return self.output(states.view(-1, length * rows).T).view(length, rows, -1)


class LRURecBlock(nn.Module):
    """A = LN(x + Dpt(LRU(x))), then LN(A + Dpt(Dpt(GELU(A W_1 + b_1)) W_2 + b_2)) (Eq. 8, 9)."""

    def __init__(self, hidden_size: int, state_size: int, inner_size: int, dropout: float, recurrence_dropout: float):
        super().__init__()
        self.recurrence = LinearRecurrence(hidden_size, state_size)
        self.recurrence_dropout = kernels.Dropout(recurrence_dropout)
        self.recurrence_norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.inner = nn.Linear(hidden_size, inner_size)
        self.outer = nn.Linear(inner_size, hidden_size)
        self.dropout = kernels.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)

    def forward(self, x: Float[Tensor, "N B D"]) -> Float[Tensor, "N B D"]:
        x = self.recurrence_norm(x + self.recurrence_dropout(self.recurrence(x)))
        inner = self.dropout(F.gelu(self.inner(x)))
        return self.norm(x + self.dropout(self.outer(inner)))


class LRURec(CausalModel):
    """Normalised item embeddings (Eq. 7), blocks of a recurrence and a feed-forward network, and E h_t + b_o (Eq. 10).

    It follows the authors' code where that departs from the paper. The paper has a second GELU at the end of the
    feed-forward network (Eq. 8), h_1 = B x_1 without γ (Eq. 5), and no dropout in its equations. The code drops out
    embeddings before their LayerNorm.

    The code also decays all weights but biases and norms, clips gradients, and has padding as a class of the softmax.
    This model does not. The authors also train on each first item, predicted from
    padding alone, and only on the last ``max_len`` training items of a user with fewer than twice as many. Here
    embeddings and linear layers start from a normal distribution that is not
    truncated, biases start from 0, and LayerNorms add 1e-12 to the variance, not 1e-5.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        state_size: PositiveInt,
        num_layers: PositiveInt,
        inner_size: PositiveInt,
        dropout: DropoutRate,
        recurrence_dropout: DropoutRate,
        all_positions: bool,
    ):
        super().__init__(all_positions)
        self.item_embedding = item_embedding(spec, hidden_size)
        self.bias = nn.Parameter(torch.zeros(spec.num_items + 1))  # b_o
        self.dropout = kernels.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.blocks = nn.ModuleList(
            LRURecBlock(hidden_size, state_size, inner_size, dropout, recurrence_dropout) for _ in range(num_layers)
        )
        self.apply(initialize)

    def states(self, batch: Batch) -> Float[Tensor, "B N D"]:
        hidden = self.norm(self.dropout(self.item_embedding(batch.item_seq.T)))  # (N, B, D)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden.transpose(0, 1)

    def output(self, state: Float[Tensor, "M D"]) -> Float[Tensor, "M D"]:
        return state

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_embedding.weight

    def item_bias(self) -> Float[Tensor, " V"]:
        return self.bias
