"""GRU4Rec against loops written from its paper."""

import numpy as np

from adamct.batch import Batch
from adamct.models.gru4rec import GRULayer
from tests.models.oracles import Array, Build, agree, array, linear, lists, scores, sigma


def gru(x: Array, layer: GRULayer) -> Array:
    """Compute the state after each item (Eq. 2 to 5)."""
    w_z, w_r, w = np.split(array(layer.input.weight), 3)
    u_z, u_r = np.split(array(layer.gates.weight), 2)
    u = array(layer.candidate.weight)
    h, states = np.zeros(len(u)), []
    for x_t in x:
        z, r = sigma(w_z @ x_t + u_z @ h), sigma(w_r @ x_t + u_r @ h)
        h = (1 - z) * h + z * np.tanh(w @ x_t + u @ (r * h))
        states.append(h)
    return np.stack(states)


def test_gru4rec_is_equations_1_to_4(make_model: Build, batch: Batch) -> None:
    model = make_model("gru4rec", num_layers=2, state_size=6)
    table = array(model.item_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        hidden = table[history]
        for layer in model.layers:
            hidden = gru(hidden, layer)
        agree(ours, table @ linear(hidden[-1], model.dense))
