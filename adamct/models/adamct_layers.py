"""Layers that AdaMCT's parts and their variants are built from; equation numbers are the paper's."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from adamct import kernels
from adamct.errors import require
from adamct.models.layers import LAYER_NORM_EPS, Activation


class Hyperparameters(NamedTuple):
    """The values that every part of AdaMCT is built from."""

    num_items: int
    max_len: int
    hidden_size: int
    num_heads: int
    kernel_size: int
    reduction: int
    activation: Activation
    dropout: float
    attn_dropout: float


class Projection(nn.Sequential):
    """E_en(H) = LN(Dpt(Linear(H))) (Eq. 5, 7)."""

    def __init__(self, hparams: Hyperparameters):
        linear = nn.Linear(hparams.hidden_size, hparams.hidden_size)
        super().__init__(linear, kernels.Dropout(hparams.dropout), nn.LayerNorm(hparams.hidden_size, LAYER_NORM_EPS))


class SqueezeExcitation(nn.Module):
    """SEAtt: a weight for every position, from all positions' means (Eq. 12-14); linears with bias as released.

    W_1 is (max_len / r, max_len) and W_2 its counterpart. A batch of N positions uses N columns of W_1 and N rows of
    W_2, which equals zero summaries beyond N.
    """

    def __init__(self, hparams: Hyperparameters, bias: bool):
        super().__init__()
        max_len, reduction = hparams.max_len, hparams.reduction
        fits = reduction <= max_len
        require(fits, f"model.reduction={reduction}: must be at most the history length, dataset.max_len={max_len}")
        self.squeeze = nn.Linear(max_len, max_len // reduction, bias)
        self.excite = nn.Linear(max_len // reduction, max_len, bias)

    def logits(self, x: Float[Tensor, "B N D"], visible: Bool[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """Return g(Z) = W_2 δ(W_1 Z), where Z is 0 at positions that are not visible."""
        length = x.shape[1]
        summary = x.mean(-1) * visible  # (B, N)
        squeezed = F.relu(F.linear(summary, self.squeeze.weight[:, :length], self.squeeze.bias))
        bias = None if self.excite.bias is None else self.excite.bias[:length]
        return F.linear(squeezed, self.excite.weight[:length], bias)


class Coefficient(nn.Module):
    """Ada(H) = sigmoid(Linear(mean of H over the positions)): a user's weight of the local branch (Eq. 15, 16)."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.linear = nn.Linear(hidden_size, 1)

    def forward(self, hidden: Float[Tensor, "B N D"], visible: Bool[Tensor, "B N"]) -> Float[Tensor, "B 1 1"]:
        weight = visible.unsqueeze(-1).to(hidden.dtype)  # (B, N, 1)
        mean = (hidden * weight).sum(1) / weight.sum(1)  # (B, D)
        return self.linear(mean).sigmoid().unsqueeze(-1)


class Mixture(nn.Module, ABC):
    """A layer that joins the outputs of the two branches."""

    @abstractmethod
    def forward(
        self,
        hidden: Float[Tensor, "B N D"],
        local_out: Float[Tensor, "B N D"],
        global_out: Float[Tensor, "B N D"],
        visible: Bool[Tensor, "B N"],
    ) -> Float[Tensor, "B N D"]: ...
