"""SASRec against loops written from its paper."""

import numpy as np

from adamct.batch import Batch
from tests.models.oracles import Build, agree, array, causal, layer_norm, linear, lists, multi_head, relu, scores


def test_sasrec_is_equations_1_to_6(make_model: Build, batch: Batch) -> None:
    model = make_model("sasrec")
    table = array(model.item_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        x = np.array([table[item] + array(model.position_embedding.weight)[t] for t, item in enumerate(history)])
        for block in model.blocks:
            x = x + multi_head(layer_norm(x, block.attention_norm), block.attention, causal)
            x = x + linear(relu(linear(layer_norm(x, block.feed_forward_norm), block.inner)), block.outer)
        agree(ours, table @ layer_norm(x[-1], model.norm))
