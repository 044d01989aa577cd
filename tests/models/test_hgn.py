"""HGN against loops written from its paper."""

import numpy as np

from adamct.batch import Batch
from tests.models.oracles import WINDOW, Build, D, agree, array, last_vectors, linear, lists, scores, sigma


def test_hgn_is_equations_2_to_7(make_model: Build, batch: Batch) -> None:
    model = make_model("hgn", window=WINDOW)
    w_3, w_4 = array(model.item_gate.weight)[0], array(model.item_gate_user.weight)
    for b, (history, ours) in enumerate(zip(lists(batch), scores(model, batch), strict=True)):
        user, items = array(model.user_embedding.weight)[b], last_vectors(model, history)
        gated, gates = np.zeros(D), 0.0
        for t in range(WINDOW - min(WINDOW, len(history)), WINDOW):
            gate = sigma(linear(items[t], model.feature_gate) + array(model.feature_gate_user.weight) @ user)
            feature = items[t] * gate
            item_gate = sigma(w_3 @ feature + w_4[t] @ user)
            gated, gates = gated + feature * item_gate, gates + item_gate
        agree(ours, array(model.output_embedding.weight) @ (user + gated / gates + items.sum(0)))
