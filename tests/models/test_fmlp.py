"""FMLP-Rec against loops written from its paper."""

import numpy as np
import torch
from hydra.utils import instantiate

from adamct.batch import Batch, DataSpec
from tests.models.oracles import SPEC, Array, Build, agree, array, feed_forward, layer_norm, lists, scores


def filtered(x: Array, weight: Array) -> Array:
    """Multiply the Fourier transform of a history, after zeros up to ``max_len``, with the complex weights."""
    padded = np.concatenate([np.zeros((SPEC.max_len - len(x), x.shape[1])), x])
    weighted = np.fft.rfft(padded, axis=0) * (weight[0] + 1j * weight[1])
    return np.fft.irfft(weighted, SPEC.max_len, axis=0)[-len(x) :]


def test_fmlp_is_its_equations(make_model: Build, batch: Batch) -> None:
    model = make_model("fmlp", inner_size=12)
    table, positions = array(model.item_embedding.weight), array(model.position_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        x = layer_norm(table[history] + positions[-len(history) :], model.norm)
        for block in model.blocks:
            x = feed_forward(layer_norm(x + filtered(x, array(block.weight)), block.norm), block.feed_forward)
        agree(ours, table @ x[-1])


def test_parameters_are_those_of_the_authors_code(configure: Build) -> None:
    V, N, D, F = 12_102, 50, 64, 256  # Beauty's items with padding, max_len, hidden_size, inner_size
    model = instantiate(configure("model=fmlp").model, _partial_=True)(DataSpec(V - 1, 22_363, N, torch.zeros(V)))
    spectrum, feed_forward, norms = 2 * (N // 2 + 1) * D, (D * F + F) + (F * D + D), 2 * 2 * D
    expected = V * D + N * D + 2 * D + 2 * (spectrum + feed_forward + norms)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == 851_200
