"""The operations that models are made of, as NumPy loops written from their equations.

An oracle works on one user's history without padding, (n, D). The symbols are the papers'.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from adamct.batch import Batch, DataSpec, TrainingPart
from adamct.models.layers import Activation, FeedForward, MultiHeadAttention, TransformerLayer

Array = npt.NDArray[np.float64]
Build = Callable[..., Any]
Histories = Callable[[Sequence[int], int, int], Batch]

TRAINING = TrainingPart(np.random.default_rng(0).integers(1, 31, 40), np.arange(0, 41, 5))
SPEC = DataSpec(30, num_users=8, max_len=12, item_counts=torch.arange(31.0), training=TRAINING, has_times=True)
D, WINDOW = 8, 5
LENGTHS = (1, 8, 3, 5)
ACTIVATIONS: dict[Activation, Callable[[float], float]] = {
    "gelu": lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2,
    "relu": lambda v: max(v, 0.0),
    "swish": lambda v: v / (1 + math.exp(-v)),
    "tanh": math.tanh,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
}
gelu, relu, sigma = (np.vectorize(ACTIVATIONS[name], otypes=[float]) for name in ("gelu", "relu", "sigmoid"))


def array(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


def agree(ours: Tensor, reference: Tensor | npt.ArrayLike, tolerance: float = 1e-9) -> None:
    expected = array(reference) if isinstance(reference, Tensor) else np.asarray(reference)
    np.testing.assert_allclose(array(ours), expected, rtol=tolerance, atol=tolerance)


def scores(model: Any, batch: Batch) -> Tensor:
    all_scores = model.scores(batch)
    return all_scores.block(0, all_scores.num_items)


def lists(batch: Batch) -> list[list[int]]:
    """Return the histories without padding."""
    return [row[:n] for row, n in zip(batch.item_seq.tolist(), batch.seq_len.tolist(), strict=True)]


def cut(batch: Batch, width: int) -> Batch:
    """Return the batch with histories padded to a smaller width."""
    times = None if batch.times is None else batch.times[:, :width]
    return batch._replace(item_seq=batch.item_seq[:, :width], times=times)


def row_of(history: Sequence[int]) -> Batch:
    """Return a batch of one history."""
    return Batch(torch.tensor([0]), torch.tensor([history]), torch.tensor([len(history)]), torch.tensor([1]))


def softmax(x: npt.ArrayLike) -> Array:
    e = np.exp(np.asarray(x))
    return e / e.sum()


def weighted(weights: npt.ArrayLike, vectors: npt.ArrayLike) -> Array:
    """Return the sum of the vectors, each times its weight."""
    total = np.zeros(np.shape(vectors)[1:])
    for weight, vector in zip(np.asarray(weights), np.asarray(vectors), strict=True):
        total = total + weight * vector
    return total


def linear(x: Array, module: nn.Linear) -> Array:
    return x @ array(module.weight).T + (0 if module.bias is None else array(module.bias))


def layer_norm(x: Array, module: nn.LayerNorm, eps: float = 1e-12) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return unit * array(module.weight) + array(module.bias)


def multi_head(x: Array, module: MultiHeadAttention, visible: Callable[[int, int], bool]) -> Array:
    """Concatenate the heads of softmax(Q K^T / sqrt(D/H)) V, where item i attends to the items j that it may see."""
    n, d = x.shape
    size = d // module.num_heads
    q, k, v = np.split(linear(x, module.query_key_value), 3, 1)
    out = np.zeros((n, d))
    for head in range(module.num_heads):
        own = slice(head * size, (head + 1) * size)
        for i in range(n):
            seen = [j for j in range(n) if visible(i, j)]
            weight = softmax([sum(q[i, own] * k[j, own]) / math.sqrt(size) for j in seen])
            out[i, own] = weighted(weight, v[seen, own])
    return out


def causal(i: int, j: int) -> bool:
    return j <= i


def everywhere(i: int, j: int) -> bool:
    return True


def feed_forward(x: Array, module: FeedForward) -> Array:
    """Return LN(x + GELU(x W_1 + b_1) W_2 + b_2)."""
    return layer_norm(x + linear(gelu(linear(x, module.inner)), module.outer), module.norm)


def transformer(x: Array, layer: TransformerLayer, visible: Callable[[int, int], bool]) -> Array:
    """Return LN(A + FFN(A)) with A = LN(x + MH(x)) and FFN(A) = GELU(A W_1 + b_1) W_2 + b_2."""
    attended = linear(multi_head(x, layer.attention, visible), layer.output)
    a = layer_norm(x + attended, layer.attention_norm)
    return layer_norm(a + linear(gelu(linear(a, layer.inner)), layer.outer), layer.norm)


def last_vectors(model: Any, history: Sequence[int]) -> Array:
    """Return the embeddings of the last `WINDOW` items, with zero vectors before the first item."""
    items = np.zeros((WINDOW, D))
    for back in range(1, min(WINDOW, len(history)) + 1):
        items[-back] = array(model.item_embedding.weight)[history[-back]]
    return items
