"""HSTU against loops written from its paper, and the laws of its bias for times."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from adamct.batch import Batch
from adamct.models.hstu import HSTULayer, time_buckets
from tests.models.oracles import ACTIVATIONS, SPEC, Array, Build, agree, array, linear, lists, scores

DAY = 86_400
silu = np.vectorize(ACTIVATIONS["swish"], otypes=[float])


def unit(x: Array) -> Array:
    """Normalise the last axis to mean 0 and variance 1."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def bucket(seconds: int) -> int:
    return int(math.log(max(abs(seconds), 1)) / 0.301)


def transduced(x: Array, layer: HSTULayer, times: Sequence[int] | None) -> Array:
    """Compute Eq. 1 to 3 with a residual. Item i attends to the items j up to i, with weights divided by max_len."""
    n, d = x.shape
    size = d // layer.num_heads
    u, v, q, k = np.split(silu(linear(unit(x), layer.input)), 4, 1)
    attended = np.zeros((n, d))
    for head in range(layer.num_heads):
        own = slice(head * size, (head + 1) * size)
        for i in range(n):
            for j in range(i + 1):
                rab = array(layer.bias.position)[i - j]
                if times is not None:
                    rab += array(layer.bias.get_parameter("time"))[bucket(times[i] - times[j])]
                attended[i, own] += silu(q[i, own] @ k[j, own] + rab) / SPEC.max_len * v[j, own]
    return x + linear(unit(attended) * u, layer.output)


def test_buckets_do_not_depend_on_the_precision_of_weights() -> None:
    days = DAY * torch.arange(2000)[None]
    before, expected = torch.get_default_dtype(), time_buckets(days, 128)
    torch.set_default_dtype(torch.bfloat16)  # as under trainer.precision=bf16-true
    try:
        assert time_buckets(days, 128).equal(expected)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("has_times", [True, False])
def test_hstu_is_equations_1_to_3(has_times: bool, make_model: Build, batch: Batch) -> None:
    model = make_model("hstu", SPEC._replace(has_times=has_times), num_layers=2, num_heads=2, temperature=0.5)
    table, positions = array(model.item_embedding.weight), array(model.position_embedding.weight)
    directions = np.array([vector / max(math.sqrt(vector @ vector), 1e-12) for vector in table])
    assert batch.times is not None
    for history, times, ours in zip(lists(batch), batch.times.tolist(), scores(model, batch), strict=True):
        x = math.sqrt(table.shape[1]) * table[history] + positions[: len(history)]
        for layer in model.layers:
            x = transduced(x, layer, times if has_times else None)
        agree(ours, directions @ x[-1] / math.sqrt(x[-1] @ x[-1]) / 0.5)


def test_buckets_are_equally_wide_in_log_time() -> None:
    times = torch.tensor([[0, 1, 3, DAY, 365 * DAY]])
    assert time_buckets(times, 128)[0, 0].tolist() == [0, 0, 3, 37, 57]
    assert time_buckets(times, 40)[0, 0].tolist() == [0, 0, 3, 37, 39]
    assert time_buckets(times, 128).equal(time_buckets(times, 128).mT)


def test_histories_without_times_get_no_bias_for_times(make_model: Build, batch: Batch) -> None:
    model, without = make_model("hstu"), batch._replace(times=None)
    missing = model.queries(without)
    assert not torch.allclose(model.queries(batch), missing)
    for layer in model.layers:
        layer.bias.time.data.zero_()
    agree(model.queries(batch), missing)


@pytest.mark.parametrize(("has_times", "keys"), [(False, {}), (True, {"num_time_buckets": 0})])
def test_times_are_not_needed_where_they_are_not_used(
    has_times: bool, keys: dict[str, int], make_model: Build, batch: Batch
) -> None:
    model = make_model("hstu", SPEC._replace(has_times=has_times), **keys)
    assert not model.batch_needs().times
    assert not any("time" in name for name, _ in model.named_parameters())
    assert torch.equal(model.queries(batch), model.queries(batch._replace(times=None)))


@pytest.mark.parametrize("has_times", [True, False])
def test_parameters_are_those_of_the_equations(has_times: bool, build: Build) -> None:
    items, n, d, layers = 12_101, 50, 64, 4  # Beauty
    spec = SPEC._replace(num_items=items, max_len=n, has_times=has_times)
    model = build(spec, "model=hstu", hidden_size=d, num_layers=layers, num_heads=4)
    of_layer = d * 4 * d + (d * d + d) + n + (128 if has_times else 0)  # W_1, W_2 and b, rab
    expected = (items + 1) * d + n * d + layers * of_layer
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert expected == (860_616 if has_times else 860_104)
