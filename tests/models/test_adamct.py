"""AdaMCT against the released code, and what it refuses."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import Tensor, nn

from adamct.batch import Batch, DataSpec
from adamct.errors import InputError, explain
from adamct.models.layers import MultiHeadAttention
from adamct.training.step import training_loss
from tests.models.adamct_oracles import N, scrambled
from tests.models.oracles import ACTIVATIONS, LENGTHS, SPEC, Build, D, Histories, agree, array, scores


def released(model: Any, batch: Batch, num_heads: int, phi: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute the released code's scores of all rows of the item table from our model's weights.

    Its embedding has padding_idx=0, so that the lookup of padding gives its row no gradient.
    """

    def norm(x: Tensor, module: nn.LayerNorm) -> Tensor:
        return F.layer_norm(x, (x.shape[-1],), module.weight, module.bias, 1e-12)

    def dense(x: Tensor, module: nn.Linear) -> Tensor:
        return F.linear(x, module.weight, module.bias)

    def se_att(x: Tensor, gate: Any) -> Tensor:
        return x * dense(dense(x.mean(-1), gate.squeeze).relu(), gate.excite).sigmoid()[..., None]

    seq, table = batch.item_seq, model.item_embedding.weight
    later = torch.ones(N, N).triu(1).bool()
    mask = (later | (seq == 0)[:, None, None]) * -10000.0
    h = norm(F.embedding(seq, table, padding_idx=0) + model.position_embedding.weight, model.entry[0])
    for layer in model.layers:
        linear_en, _, norm_en = layer.inputs.projection
        e = norm(dense(h, linear_en), norm_en)
        attention, convolution = layer.global_branch, layer.local_branch.convolution
        q, k, v = (
            x.reshape(len(seq), N, num_heads, -1).transpose(1, 2)
            for x in dense(e, attention.attention.query_key_value).chunk(3, -1)
        )
        weights = (q @ k.transpose(-1, -2) / math.sqrt(h.shape[-1] / num_heads) + mask).softmax(-1)
        context = (weights @ v).transpose(1, 2).reshape(h.shape)
        global_out = se_att(norm(dense(context, attention.output), attention.norm), layer.global_gate)
        convolved = F.conv1d(
            e.transpose(1, 2), convolution.weight, convolution.bias, padding=(convolution.weight.shape[-1] - 1) // 2
        )
        local_out = se_att(phi(norm(convolved.transpose(1, 2), layer.local_branch.norm)), layer.local_gate)
        a = dense(h.mean(1), layer.mixture.coefficient.linear).sigmoid()[..., None]
        h = norm(dense((1 - a) * global_out + a * local_out, layer.output) + h, layer.norm)
    return h[torch.arange(len(seq)), batch.seq_len - 1] @ table.T


ACTIVATIONS_OF_TENSORS = {"gelu": F.gelu, "relu": F.relu, "swish": F.silu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("num_heads", [1, 2, 4])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_dense_model_scores_as_the_released_code(
    build: Build, histories: Histories, kernel_size: int, num_heads: int, activation: str
) -> None:
    sizes = {"hidden_size": D, "num_heads": num_heads, "kernel_size": kernel_size, "activation": activation}
    model = scrambled(build(SPEC, "model=adamct", padding="dense", **sizes))
    batch = histories((1, 8, 3, N), N, SPEC.num_items)
    assert model.pad_to_max_len
    agree(scores(model, batch), released(model, batch, num_heads, ACTIVATIONS_OF_TENSORS[activation]))


def test_released_padding_trains_as_the_released_code(build: Build, histories: Histories) -> None:
    """Compare scores, loss and all gradients. Padding is a class, and its gradient comes from the softmax alone."""
    model = scrambled(build(SPEC, "model=adamct", padding="released", hidden_size=D))
    batch = histories((1, 8, 3, N), N, SPEC.num_items)
    expected = released(model, batch, 2, F.gelu)
    agree(scores(model, batch), expected)
    loss = F.cross_entropy(expected, batch.target)
    agree(training_loss(model, batch), loss)
    weights = dict(model.named_parameters())
    gradients = [torch.autograd.grad(value, list(weights.values())) for value in (training_loss(model, batch), loss)]
    for name, ours, reference in zip(weights, *gradients, strict=True):
        agree(ours, reference)
        assert ours.any(), name
    row = array(gradients[0][list(weights).index("item_embedding.weight")][0])
    share, queries = array(expected.softmax(1)[:, 0]), array(model.queries(batch))
    np.testing.assert_allclose(row, (share[:, None] * queries).mean(0), rtol=1e-9, atol=1e-12)


def test_released_padding_starts_as_any_item(build: Build) -> None:
    model = build(SPEC, "model=adamct", padding="released")
    assert model.item_embedding.weight[0].all()


@pytest.mark.parametrize(
    ("dataset", "num_items", "parameters"),
    [("beauty", 12_101, 210_910), ("toys", 11_924, 413_022), ("sports", 18_357, 1_258_258)],
)
def test_tuned_model_has_the_released_codes_parameters(
    configure: Build, dataset: str, num_items: int, parameters: int
) -> None:
    cfg = configure("model=adamct", f"dataset={dataset}")
    model = instantiate(cfg.model, _partial_=True)(
        DataSpec(num_items, 1, cfg.dataset.max_len, torch.zeros(num_items + 1))
    )
    assert cfg.dataset.max_len == 50
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_dropout_is_where_the_released_code_has_it(build: Build) -> None:
    def rates_of(name: str) -> dict[str, list[float]]:
        model = build(SPEC, f"model={name}", dropout=0.25, attn_dropout=0.75)
        named = {"entry": model.entry, **dict(model.layers[1].named_children()), "head": model.head}
        rates = {key: [rate for m in part.modules() if (rate := rate_of(m))] for key, part in named.items()}
        return {key: values for key, values in rates.items() if values}

    def rate_of(module: nn.Module) -> float:
        if isinstance(module, MultiHeadAttention):
            return module.dropout
        return module.p if isinstance(module, nn.Dropout) else 0.0

    assert rates_of("adamct") == {"entry": [0.25], "inputs": [0.25], "global_branch": [0.75], "dropout": [0.25]}
    assert rates_of("adamct_paper") == {
        "inputs": [0.25, 0.25],
        "local_branch": [0.25],
        "global_branch": [0.75, 0.25],
        "dropout": [0.25],
    }


def test_attention_dropout_acts_in_training_only(build: Build, histories: Histories) -> None:
    model, batch = build(SPEC, "model=adamct", dropout=0.0, attn_dropout=0.5), histories(LENGTHS, N, SPEC.num_items)
    assert not torch.equal(model.queries(batch), model.queries(batch))
    model.eval()
    assert torch.equal(model.queries(batch), model.queries(batch))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *product(["kernel_size"], [4, 0, -1]),
        *product(["num_heads"], [3, 0, -2]),
        *product(["reduction"], [0, N + 1]),
        *product(["dropout", "attn_dropout"], [1.0, -0.1, 1.5, math.nan]),
        *product(["hidden_size", "num_layers"], [0]),
        ("activation", "softplus"),
        ("padding", "left"),
    ],
)
def test_refused_hyperparameter_is_named_in_one_line(
    build: Build, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users have no check of types before ours
    with pytest.raises((InputError, InstantiationException)) as caught:
        build(SPEC, "model=adamct", **{key: value})
    assert isinstance(caught.value, InputError) or isinstance(caught.value.__cause__, InputError)
    line = explain(caught.value)
    assert line is not None
    assert line.removeprefix("model.").startswith(f"{key}=")
    assert "\n" not in line
