"""Caser against loops written from its paper."""

import numpy as np

from adamct.batch import Batch
from tests.models.oracles import WINDOW, Build, D, agree, array, last_vectors, linear, lists, relu, scores


def test_caser_is_equations_3_to_10(make_model: Build, batch: Batch) -> None:
    model = make_model("caser", window=WINDOW, num_horizontal=3, num_vertical=2)
    for user, (history, ours) in enumerate(zip(lists(batch), scores(model, batch), strict=True)):
        e, vertical = last_vectors(model, history), array(model.vertical.weight)
        features = [sum(f[t] * e[t, d] for t in range(WINDOW)) for d in range(D) for f in vertical]  # Eq. 6-8
        for height, convolution in enumerate(model.horizontal, start=1):
            for f, bias in zip(array(convolution.weight), array(convolution.bias), strict=True):
                starts = range(WINDOW - height + 1)
                responses = [max((f * e[i : i + height].T).sum() + bias, 0) for i in starts]  # Eq. 3
                features.append(max(responses))  # Eq. 5
        z = relu(linear(np.array(features), model.dense))  # Eq. 9
        joined = np.concatenate([z, array(model.user_embedding.weight)[user]])
        agree(ours, array(model.output_embedding.weight) @ joined + array(model.output_bias))  # Eq. 10
