"""eSASRec against loops written from the equations of its blocks."""

import numpy as np
import torch
from hydra.utils import instantiate

from adamct.batch import Batch, DataSpec
from adamct.models.esasrec import LiGRBlock, SwiGLU
from tests.models.oracles import (
    Array,
    Build,
    agree,
    array,
    causal,
    layer_norm,
    linear,
    lists,
    multi_head,
    scores,
    sigma,
)


def swiglu(x: Array, module: SwiGLU) -> Array:
    gate = linear(x, module.gate)
    return linear(gate * sigma(gate) * linear(x, module.inner), module.outer)


def ligr(x: Array, block: LiGRBlock) -> Array:
    attended = linear(multi_head(layer_norm(x, block.attention_norm), block.attention, causal), block.output)
    x = x + sigma(linear(x, block.attention_gate)) * attended
    transformed = swiglu(layer_norm(x, block.feed_forward_norm), block.feed_forward)
    return x + sigma(linear(x, block.feed_forward_gate)) * transformed


def test_esasrec_is_gated_blocks_without_a_last_norm(make_model: Build, batch: Batch) -> None:
    model = make_model("esasrec", num_layers=2, num_heads=2)
    table = array(model.item_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        x = np.array([table[item] + array(model.position_embedding.weight)[t] for t, item in enumerate(history)])
        for block in model.blocks:
            x = ligr(x, block)
        agree(ours, table @ x[-1])


def test_item_dropout_is_of_histories_and_of_scored_items(make_model: Build, batch: Batch) -> None:
    model = make_model("esasrec", item_dropout=0.5, dropout=0.0, attn_dropout=0.0)
    whole, queries = model.item_embedding.weight, model.queries(batch)
    model.train()
    table = model.item_table()
    assert ((table == 0) | torch.isclose(table, 2 * whole)).all()
    assert 0.3 < (table[1:] == 0).double().mean() < 0.7
    assert not torch.allclose(model.queries(batch), queries)


def test_parameters_are_those_of_rectools(configure: Build) -> None:
    V, N, D, F = 12_102, 50, 64, 256  # Beauty's items with padding, max_len, hidden_size, inner_size
    model = instantiate(configure("model=esasrec").model, _partial_=True)(DataSpec(V - 1, 22_363, N, torch.zeros(V)))
    attention = (D * 3 * D + 3 * D) + (D * D + D)
    gates, norms, feed_forward = 2 * (D * D + D), 2 * 2 * D, 3 * D * F
    expected = V * D + N * D + attention + gates + norms + feed_forward
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == 852_096
