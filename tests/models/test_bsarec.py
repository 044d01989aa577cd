"""BSARec against loops written from its paper."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from adamct.batch import Batch, DataSpec
from tests.models.oracles import (
    SPEC,
    Array,
    Build,
    Histories,
    agree,
    array,
    causal,
    feed_forward,
    layer_norm,
    linear,
    lists,
    multi_head,
    row_of,
    scores,
)


def low_frequencies(x: Array, count: int) -> Array:
    """Return the ``count`` lowest frequencies of a history, after zeros up to ``max_len``."""
    spectrum = np.fft.rfft(np.concatenate([np.zeros((SPEC.max_len - len(x), x.shape[1])), x]), axis=0)
    spectrum[count:] = 0
    return np.fft.irfft(spectrum, SPEC.max_len, axis=0)[-len(x) :]


@pytest.mark.parametrize("num_low_frequencies", [1, 3, 7, 20])
def test_bsarec_is_its_equations(num_low_frequencies: int, make_model: Build, batch: Batch) -> None:
    model = make_model("bsarec", inner_size=12, num_low_frequencies=num_low_frequencies, filter_weight=0.7)
    table, positions = array(model.item_embedding.weight), array(model.position_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        x = layer_norm(table[history] + positions[-len(history) :], model.norm)
        for block in model.blocks:
            low, rescaler = low_frequencies(x, num_low_frequencies), block.rescaler
            filtered = layer_norm(x + low + array(rescaler.sqrt_beta) ** 2 * (x - low), rescaler.norm)
            attended = linear(multi_head(x, block.attention, causal), block.output)
            attended = layer_norm(x + attended, block.attention_norm)
            x = feed_forward(0.7 * filtered + 0.3 * attended, block.feed_forward)
        agree(ours, table @ x[-1])


def test_the_filter_sees_later_items(make_model: Build, histories: Histories) -> None:
    """It has no ``all_positions``: the vector of an item changes with the item after it."""
    model, history = make_model("bsarec", filter_weight=1.0), histories([9], 9, SPEC.num_items).item_seq[0].tolist()
    seen: list[torch.Tensor] = []
    model.blocks[0].register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    for last in (1, 2):
        model.queries(row_of([*history, last]))
    assert not torch.allclose(seen[0][:-1], seen[1][:-1], rtol=0, atol=1e-3)


def test_parameters_are_those_of_the_authors_log(configure: Build) -> None:
    spec = DataSpec(num_items=12_101, num_users=22_363, max_len=50, item_counts=torch.zeros(12_102))
    model = instantiate(configure("dataset=beauty", "model=bsarec").model, _partial_=True)(spec)
    assert sum(parameter.numel() for parameter in model.parameters()) == 878_208
