"""AdaMCT's equations as NumPy loops on one user's history, (N, D); the symbols are the paper's."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adamct.models import adamct as parts
from adamct.models.adamct_layers import Coefficient, Hyperparameters, SqueezeExcitation
from tests.models.oracles import SPEC, Array, D, array, layer_norm, linear, multi_head, sigma

N = SPEC.max_len
HPARAMS = Hyperparameters(
    num_items=SPEC.num_items,
    max_len=N,
    hidden_size=D,
    num_heads=2,
    kernel_size=3,
    reduction=2,
    activation="gelu",
    dropout=0.5,
    attn_dropout=0.5,
)


def scrambled(module: Any) -> Any:
    """Give a module random weights in float64, also in its norms and biases, and switch off its dropout."""
    generator = torch.Generator().manual_seed(1)
    module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return module


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def en(h: Array, projection: nn.Sequential) -> Array:
    """Project the input of a branch (Eq. 5 and 7)."""
    first, _, last = projection
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.LayerNorm)
    return layer_norm(linear(h, first), last)


def mhsa(e: Array, branch: parts.SelfAttention, is_item: list[bool]) -> Array:
    """Compute the global branch (Eq. 2 to 4 and 6), with keys that are padding masked as well."""
    concat = multi_head(e, branch.attention, lambda i, j: j <= i and is_item[j])
    return layer_norm(linear(concat, branch.output), branch.norm)


def conv_mid(e: Array, branch: Any, phi: Callable[[float], float], norm_first: bool) -> Array:
    """Compute the local branch (Eq. 8 to 10, or LN before Φ as released), with zeros on both sides."""
    (n, d), k = e.shape, branch.convolution.kernel_size[0]
    filters = array(branch.convolution.weight)
    bias = np.zeros(d) if branch.convolution.bias is None else array(branch.convolution.bias)
    padded = np.concatenate([np.zeros((k // 2, d)), e, np.zeros((k // 2, d))])
    c = np.zeros((n, d))
    for j, i in product(range(n), range(d)):
        c[j, i] = bias[i] + sum(padded[j + t] @ filters[i, :, t] for t in range(k))
    activate = np.vectorize(phi)
    return activate(layer_norm(c, branch.norm)) if norm_first else layer_norm(activate(c), branch.norm)


def seatt(mod: Array, gate: SqueezeExcitation, visible: list[bool]) -> Array:
    """Compute a weight for each position (Eq. 12 to 14), with Z = 0 where a position is not visible."""
    w_1, w_2 = array(gate.squeeze.weight), array(gate.excite.weight)
    z = np.zeros(w_1.shape[1])
    for i in range(len(mod)):
        z[i] = sum(mod[i]) / mod.shape[1] if visible[i] else 0
    squeezed = [sum(w_1[r, i] * z[i] for i in range(len(z))) for r in range(len(w_1))]
    squeezed = squeezed if gate.squeeze.bias is None else squeezed + array(gate.squeeze.bias)
    g = [sum(w_2[i, r] * max(squeezed[r], 0.0) for r in range(len(w_1))) for i in range(len(mod))]
    g = np.array(g if gate.excite.bias is None else g + array(gate.excite.bias)[: len(mod)])
    if isinstance(gate, parts.SigmoidGate):
        return sigma(g)
    total = sum(math.exp(g[i]) for i in range(len(g)) if visible[i])
    return np.array([math.exp(g[i]) / total if visible[i] else 0 for i in range(len(g))])


def ada(h: Array, coefficient: Coefficient) -> float:
    """Compute the weight of the local branch (Eq. 15 and 16)."""
    pool = np.array([sum(h[:, j]) for j in range(h.shape[1])]) / len(h)
    return sigma(linear(pool, coefficient.linear)).item()


def paper_layer(h: Array, layer: Any, phi: Callable[[float], float], without: str | None = None) -> Array:
    """Compute a layer of the paper model (Eq. 1, 11, 17 and 18)."""
    all_real = [True] * len(h)
    g_trm = mhsa(en(h, layer.inputs.global_projection), layer.global_branch, all_real)
    l_conv = conv_mid(en(h, layer.inputs.local_projection), layer.local_branch, phi, norm_first=False)
    g_trm, l_conv = g_trm * (without != "global_branch"), l_conv * (without != "local_branch")
    if without != "global_gate":
        g_trm = seatt(g_trm, layer.global_gate, all_real)[:, None] * g_trm
    if without != "local_gate":
        l_conv = seatt(l_conv, layer.local_gate, all_real)[:, None] * l_conv
    alpha = ada(h, layer.mixture.coefficient)
    return layer_norm(h + linear(alpha * l_conv + (1 - alpha) * g_trm, layer.output), layer.norm)


def is_item_of(lengths: tuple[int, ...], width: int) -> Tensor:
    return torch.arange(width) < torch.tensor(lengths)[:, None]
