"""CORE against loops written from its paper."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adamct.batch import Batch
from tests.models.oracles import (
    LENGTHS,
    SPEC,
    Array,
    Build,
    agree,
    array,
    causal,
    layer_norm,
    linear,
    lists,
    scores,
    softmax,
    transformer,
    weighted,
)


def importance(model: Any, x: Array) -> Array:
    """Compute the weights of a history's items by the transformer (Eq. 3 and 4)."""
    hidden = layer_norm(x + array(model.position_embedding.weight)[: len(x)], model.norm)
    for layer in model.layers:
        hidden = transformer(hidden, layer, causal)
    return softmax(linear(hidden, model.score)[:, 0])


@pytest.mark.parametrize("name", ["core", "core_ave"])
def test_core_is_equations_1_to_6(name: str, make_model: Build, batch: Batch) -> None:
    model = make_model(name, temperature=0.2)
    table = array(model.item_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        x = table[history]
        weight = importance(model.weights, x) if name == "core" else [1 / len(x)] * len(x)
        mean = weighted(weight, x)
        lengths = np.linalg.norm(mean) * np.linalg.norm(table[1:], axis=1)
        agree(ours[1:], table[1:] @ mean / lengths / 0.2)
        assert ours.abs().max() <= 1 / 0.2 + 1e-9


@pytest.mark.parametrize("name", ["core", "core_ave"])
def test_weights_sum_to_1_over_the_items_alone(name: str, make_model: Build, batch: Batch) -> None:
    model, is_item = make_model(name), batch.item_seq != 0
    weight = model.weights(model.item_embedding(batch.item_seq), is_item)
    agree(weight.sum(1), np.ones(len(LENGTHS)), tolerance=1e-6)
    assert torch.equal(weight > 0, is_item)


def test_history_and_scored_items_have_separate_dropouts(make_model: Build) -> None:
    single = torch.arange(1, SPEC.num_items + 1)  # each history is a different item
    batch = Batch(single, single[:, None], torch.ones_like(single), single)
    for rates in ((0.0, 0.5), (0.5, 0.0)):
        model = make_model("core_ave", session_dropout=rates[0], item_dropout=rates[1], temperature=1.0)
        whole = F.normalize(model.item_embedding.weight[1:], dim=-1)
        agree(model.queries(batch), array(whole))
        agree(model.item_table()[1:], array(whole))
        model.train()
        for rate, ours in zip(rates, (model.queries(batch), model.item_table()[1:]), strict=True):
            kept = ours != 0
            assert kept.double().mean().item() == pytest.approx(1 - rate, abs=0.2 if rate else 0)
            agree(ours, array(F.normalize(whole * kept, dim=-1)))
