"""Alternatives to AdaMCT's parts: those of the paper's equations, and those of its ablations.

The default model uses none of them. ``conf/model`` chooses.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from adamct import kernels
from adamct.models.adamct import AdaptiveMixture, Convolution
from adamct.models.adamct_layers import Hyperparameters, Mixture, Projection, SqueezeExcitation
from adamct.values import DropoutRate


class BranchInputs(nn.Module):
    """A projection for each branch (Eq. 5 and 7)."""

    def __init__(self, hparams: Hyperparameters):
        super().__init__()
        self.local_projection = Projection(hparams)
        self.global_projection = Projection(hparams)

    def forward(self, hidden: Float[Tensor, "B N D"]) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B N D"]]:
        return self.local_projection(hidden), self.global_projection(hidden)


class PaperConvolution(Convolution):
    """The local branch of the equations: LN(Dpt(Φ(Conv(x)))) (Eq. 8-10), which have no bias."""

    def __init__(self, hparams: Hyperparameters, dropout: DropoutRate, bias: bool):
        super().__init__(hparams, bias)
        self.dropout = kernels.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return self.norm(self.dropout(self.activation(self.convolution(x))))


class NoBranch(nn.Identity):
    """A branch that is left out (Figure 4): its output is zero."""

    def forward(self, input: Float[Tensor, "B N D"], *_: object) -> Float[Tensor, "B N D"]:
        return torch.zeros_like(input)


class SoftmaxGate(SqueezeExcitation):
    """SEAtt with a softmax: the positions share a total weight of 1 (Table 4)."""

    def forward(self, x: Float[Tensor, "B N D"], visible: Bool[Tensor, "B N"]) -> Float[Tensor, "B N D"]:
        return x * self.logits(x, visible).masked_fill(~visible, -torch.inf).softmax(-1).unsqueeze(-1)


class NoGate(nn.Identity):
    """A branch without SEAtt (Figure 4)."""

    def forward(self, input: Float[Tensor, "B N D"], *_: object) -> Float[Tensor, "B N D"]:
        return input


class FixedMixture(Mixture):
    """The same two weights for every user (Table 3), which depend on no hyperparameter; both 1 is plain addition."""

    def __init__(self, hparams: Hyperparameters, *, local_weight: float, global_weight: float):
        super().__init__()
        self.local_weight = local_weight
        self.global_weight = global_weight

    def forward(self, hidden, local_out, global_out, visible):
        return self.local_weight * local_out + self.global_weight * global_out


class AdaptiveLocalMixture(AdaptiveMixture):
    """α local + global: only the local branch has its coefficient (Table 3)."""

    def forward(self, hidden, local_out, global_out, visible):
        return self.coefficient(hidden, visible) * local_out + global_out


class AdaptiveGlobalMixture(AdaptiveMixture):
    """Local + (1 - α) global: only the global branch has its coefficient (Table 3)."""

    def forward(self, hidden, local_out, global_out, visible):
        return local_out + (1 - self.coefficient(hidden, visible)) * global_out


class PredictionHead(nn.Module):
    """The head of the equations: scores are GELU(H W + b) E^T + b_O (Eq. 19)."""

    def __init__(self, hparams: Hyperparameters):
        super().__init__()
        self.linear = nn.Linear(hparams.hidden_size, hparams.hidden_size)
        self.bias = nn.Parameter(torch.zeros(hparams.num_items + 1))

    def forward(self, query: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return F.gelu(self.linear(query))
