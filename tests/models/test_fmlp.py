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
    spec = DataSpec(num_items=12_101, num_users=22_363, max_len=50, item_counts=torch.zeros(12_102))
    model = instantiate(configure("dataset=beauty", "model=fmlp").model, _partial_=True)(spec)
    embeddings, norm, frequencies = (12_102 + 50) * 64, 2 * 64, 50 // 2 + 1
    layer = 2 * frequencies * 64 + (64 * 256 + 256) + (256 * 64 + 64) + 2 * norm
    assert sum(parameter.numel() for parameter in model.parameters()) == embeddings + norm + 2 * layer == 851_200
