"""What can stand in for AdaMCT's parts: the paper's equations where the released code departs, and its ablations.

Nothing here is used by the default model; ``conf/model`` chooses.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from adamct.models.adamct import AdaptiveMixture, Convolution, Mixture, Projection, SqueezeExcitation
from adamct.models.layers import Activation, Dropout, over_positions
from adamct.values import DropoutRate, OddInt, PositiveInt


class BranchInputs(nn.Module):
    """A projection for each branch (Eq. 5 and 7)."""

    def __init__(self, hidden_size: int, dropout: float):
        super().__init__()
        self.local_projection = Projection(hidden_size, dropout)
        self.global_projection = Projection(hidden_size, dropout)

    def forward(self, hidden: Float[Tensor, "B N D"]) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B N D"]]:
        return self.local_projection(hidden), self.global_projection(hidden)


class PaperConvolution(Convolution):
    """The local branch of the equations: LN(Dpt(Φ(Conv(x)))) (Eq. 8-10)."""

    def __init__(self, hidden_size: PositiveInt, kernel_size: OddInt, activation: Activation, dropout: DropoutRate):
        super().__init__(hidden_size, kernel_size, activation)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return self.norm(self.dropout(self.activation(over_positions(self.convolution, x))))


class NoBranch(nn.Module):
    """Either branch left out (Figure 4): its output is zero. Like `nn.Identity`, it takes any arguments."""

    def __init__(self, *_: object, **__: object):
        super().__init__()

    def forward(self, x: Float[Tensor, "B N D"], *_: object) -> Float[Tensor, "B N D"]:
        return torch.zeros_like(x)


class SoftmaxGate(SqueezeExcitation):
    """The positions share a total weight of 1 (Table 4)."""

    def forward(self, x: Float[Tensor, "B N D"], visible: Bool[Tensor, "B N"]) -> Float[Tensor, "B N D"]:
        return x * self.logits(x, visible).masked_fill(~visible, -torch.inf).softmax(-1).unsqueeze(-1)


class NoGate(NoBranch):
    """The branch as it is, without SEAtt (Figure 4)."""

    def forward(self, x: Float[Tensor, "B N D"], *_: object) -> Float[Tensor, "B N D"]:
        return x


class FixedMixture(Mixture):
    """The same two weights for every user (Table 3); both 1 is plain addition."""

    def __init__(self, hidden_size: int, *, local_weight: float, global_weight: float):
        super().__init__()
        del hidden_size  # all mixtures are built alike
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
    """Scores are GELU(H W + b) E^T + b_O (Eq. 19)."""

    def __init__(self, hidden_size: int, table_rows: int):
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)
        self.bias = nn.Parameter(torch.zeros(table_rows))

    def forward(self, query: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return F.gelu(self.linear(query))
