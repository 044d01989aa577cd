"""GC-SAN against loops written from its paper."""

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adamct.models.gcsan import GraphLayer, session_graph
from tests.models.oracles import (
    LENGTHS,
    SPEC,
    Array,
    Build,
    D,
    Histories,
    agree,
    array,
    everywhere,
    linear,
    lists,
    multi_head,
    relu,
    scores,
    sigma,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=8), min_size=1, max_size=3))
def test_session_graph_holds_the_shares_of_steps_between_items(rows: list[list[int]]) -> None:
    width = 9
    node, incoming, outgoing = session_graph(torch.tensor([row + [0] * (width - len(row)) for row in rows]))
    for b, row in enumerate(rows):
        assert node[b, : len(row)].tolist() == [row.index(item) for item in row]
        steps, left, entered = list(pairwise(row)), np.zeros((width, width)), np.zeros((width, width))
        for a, c in product(set(row), repeat=2):
            i, j, count = row.index(a), row.index(c), steps.count((a, c))
            left[i, j] = count / max(sum(start == a for start, _ in steps), 1)
            entered[j, i] = count / max(sum(end == c for _, end in steps), 1)
        agree(outgoing[b], left, tolerance=1e-6)
        agree(incoming[b], entered, tolerance=1e-6)


def graph_step(states: dict[int, Array], history: Sequence[int], layer: GraphLayer) -> dict[int, Array]:
    """Update the state of each item (Eq. 1 and 2)."""
    steps = list(pairwise(history))
    w_z, w_r, w_h = np.split(array(layer.from_neighbours.weight), 3)
    p_z, p_r = np.split(array(layer.gates.weight), 2)
    after = {}
    for item, s in states.items():
        before = [linear(states[a], layer.edges_in) for a, c in steps if c == item]
        behind = [linear(states[c], layer.edges_out) for a, c in steps if a == item]
        a = np.concatenate([sum(edges, np.zeros(D)) / max(len(edges), 1) for edges in (before, behind)])
        z, r = sigma(w_z @ a + p_z @ s), sigma(w_r @ a + p_r @ s)
        candidate = np.tanh(w_h @ a + array(layer.candidate.weight) @ (r * s))
        after[item] = (1 - z) * s + z * candidate
    return after


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_gcsan_is_equations_1_to_8(share: float, make_model: Build, histories: Histories) -> None:
    model = make_model("gcsan", num_graph_layers=2, num_layers=2, attention_weight=share).float()
    repeating, table = histories(LENGTHS, SPEC.max_len, 4), array(model.item_embedding.weight)
    assert any(len(set(history)) < len(history) for history in lists(repeating))
    for history, ours in zip(lists(repeating), scores(model, repeating), strict=True):
        states = {item: table[item] for item in history}
        for layer in model.graph_layers:
            states = graph_step(states, history, layer)
        h = e = np.array([states[item] for item in history])
        for layer in model.layers:
            attended = multi_head(e, layer.attention, everywhere)  # Eq. 3
            e = linear(relu(linear(attended, layer.inner)), layer.outer) + attended  # Eq. 4
        agree(ours, table @ (share * e[-1] + (1 - share) * h[-1]), tolerance=1e-5)  # Eq. 7, 8
