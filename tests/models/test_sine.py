"""SINE against loops written from its paper."""

import math
from itertools import product
from typing import Any

import numpy as np

from adamct.batch import Batch
from adamct.models.sine import AttentivePooling
from tests.models.oracles import Array, Build, D, agree, array, layer_norm, linear, lists, scores, softmax, weighted


def pooling(x: Array, module: AttentivePooling, kind: int) -> Array:
    """Compute one set of weights over the positions, softmax(tanh(X W_1) w_2)."""
    w_1, w_2 = array(module.hidden.weight)[kind * D : (kind + 1) * D], array(module.score)[kind]
    return softmax([sum(w_2 * np.tanh(w_1 @ x_t)) for x_t in x])


def interests_joined(model: Any, x: Array, count: int) -> Array:
    """Compute the query of a history (Eq. 2 to 10)."""
    z = weighted(pooling(x, model.concept_pooling, 0), x)  # Eq. 2
    best = sorted(((float(c @ z), i) for i, c in enumerate(array(model.prototypes))), reverse=True)[:count]
    c_u = [array(model.prototypes)[i] / (1 + math.exp(-affinity)) for affinity, i in best]  # Eq. 3
    keys, p_kt = [layer_norm(c, model.prototype_norm, eps=1e-5) for c in c_u], []
    for x_t in x:
        assigned = layer_norm(linear(x_t, model.assignment), model.assignment_norm, eps=1e-5)
        p_kt.append(softmax([assigned @ key for key in keys]))  # Eq. 4
    placed, interests = x + array(model.position_embedding.weight)[: len(x)], []
    for k in range(count):
        p_tk = pooling(placed, model.interest_pooling, k)  # Eq. 5
        share = [p_t[k] * p for p_t, p in zip(p_kt, p_tk, strict=True)]
        interests.append(layer_norm(weighted(share, x), model.interest_norm, eps=1e-5))  # Eq. 6
    x_hat = np.array([weighted(p_t, c_u) for p_t in p_kt])  # Eq. 7
    apt = layer_norm(weighted(pooling(x_hat, model.intent_pooling, 0), x_hat), model.intent_norm, eps=1e-5)  # Eq. 8
    e = softmax([apt @ interest / model.temperature for interest in interests])  # Eq. 9
    return weighted(e, interests)  # Eq. 10


def test_sine_is_equations_2_to_10(make_model: Build, batch: Batch) -> None:
    model = make_model("sine", num_prototypes=7, num_interests=3, temperature=0.5)
    table = array(model.item_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        agree(ours, table @ interests_joined(model, table[history], 3))


def test_penalty_is_the_covariance_of_each_two_prototypes(make_model: Build, batch: Batch) -> None:
    model = make_model("sine", num_prototypes=7, num_interests=3, penalty_weight=0.3)
    total = 0.0
    for (i, a), (j, b) in product(enumerate(array(model.prototypes)), repeat=2):
        covariance = sum((a[d] - a.mean()) * (b[d] - b.mean()) for d in range(D)) / D
        total += covariance**2 if i != j else 0
    agree(model.penalty(batch), 0.3 * total / 2)
