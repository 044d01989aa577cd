"""AdaMCT's parts and its paper variant against the equations."""

import math
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch

from adamct.losses.cross_entropy import cross_entropy
from adamct.models import adamct as parts
from adamct.models import adamct_variants as variants
from adamct.models.layers import Activation, causal_mask
from tests.models.adamct_oracles import (
    HPARAMS,
    N,
    ada,
    conv_mid,
    is_item_of,
    mhsa,
    paper_layer,
    random,
    scrambled,
    seatt,
)
from tests.models.oracles import ACTIVATIONS, LENGTHS, SPEC, Build, D, Histories, agree, array, linear, scores


@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_attention_is_equations_2_to_6(num_heads: int) -> None:
    branch = scrambled(parts.SelfAttention(HPARAMS._replace(num_heads=num_heads), output_dropout=0.5, bias=False))
    x, is_item = random(4, N, D), is_item_of(LENGTHS, N)
    agree(branch(x, causal_mask(is_item)), [mhsa(array(x[b]), branch, is_item[b].tolist()) for b in range(4)])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_convolution_is_equations_8_to_10(kernel_size: int, activation: Activation) -> None:
    x, hparams = random(1, 7, D), HPARAMS._replace(kernel_size=kernel_size, activation=activation)
    for branch, norm_first in (
        (scrambled(variants.PaperConvolution(hparams, dropout=0.5, bias=False)), False),
        (scrambled(parts.Convolution(hparams, bias=True)), True),
    ):
        agree(branch(x)[0], conv_mid(array(x[0]), branch, ACTIVATIONS[activation], norm_first))


@pytest.mark.parametrize("gate_class", [parts.SigmoidGate, variants.SoftmaxGate])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("width", "reduction"), [(N, 2), (9, 5)])
def test_squeeze_excitation_is_equations_12_to_14(
    gate_class: type[parts.SigmoidGate], bias: bool, width: int, reduction: int
) -> None:
    gate = scrambled(gate_class(HPARAMS._replace(reduction=reduction), bias))
    x, visible = random(4, width, D), is_item_of(LENGTHS, width)
    weights = np.stack([seatt(array(x[b]), gate, visible[b].tolist()) for b in range(4)])
    agree(gate(x, visible), weights[..., None] * array(x))


@pytest.mark.parametrize(
    ("mixture_class", "local_weight", "global_weight"),
    [
        (parts.AdaptiveMixture, lambda a: a, lambda a: 1 - a),
        (variants.AdaptiveLocalMixture, lambda a: a, lambda a: 1),
        (variants.AdaptiveGlobalMixture, lambda a: 1, lambda a: 1 - a),
    ],
)
def test_adaptive_mixture_is_equations_15_to_17(
    mixture_class: type[parts.AdaptiveMixture],
    local_weight: Callable[[float], float],
    global_weight: Callable[[float], float],
) -> None:
    mixture, (hidden, l_conv, g_trm) = scrambled(mixture_class(HPARAMS)), random(3, 4, N, D)
    alphas = [ada(array(hidden[b, :length]), mixture.coefficient) for b, length in enumerate(LENGTHS)]
    expected = [local_weight(a) * array(l_conv[b]) + global_weight(a) * array(g_trm[b]) for b, a in enumerate(alphas)]
    agree(mixture(hidden, l_conv, g_trm, is_item_of(LENGTHS, N)), expected)


@pytest.mark.parametrize(("mixture", "a", "b"), [("none", 1, 1), ("fixed", 0.5, 0.5), ("fixed", 0.25, 0.75)])
def test_fixed_mixture_has_the_same_weights_for_all_users(build: Build, mixture: str, a: float, b: float) -> None:
    weights = {} if a == b else {"parts.mixture.local_weight": a, "parts.mixture.global_weight": b}
    layer = build(SPEC, f"model/mixture={mixture}", **weights).layers[0]
    hidden, l_conv, g_trm = random(3, 4, N, D)
    agree(layer.mixture(hidden, l_conv, g_trm, is_item_of(LENGTHS, N)), a * l_conv + b * g_trm)


@pytest.mark.parametrize("without", [None, "local_branch", "global_branch", "local_gate", "global_gate"])
def test_layer_is_equations_1_11_and_18(build: Build, without: str | None) -> None:
    model = build(SPEC, "model=adamct_paper", hidden_size=D)
    layer = scrambled(model.layers[0])
    bare = deepcopy(layer)
    if without:
        setattr(bare, without, variants.NoGate() if without.endswith("gate") else variants.NoBranch())
    h, all_real = random(1, N, D), torch.ones(1, N, dtype=torch.bool)
    agree(bare(h, causal_mask(all_real), all_real)[0], paper_layer(array(h[0]), layer, ACTIVATIONS["gelu"], without))


def test_the_branches_of_the_paper_model_have_the_parameters_of_equations_2_to_13(build: Build) -> None:
    layer = build(SPEC, "model=adamct_paper").layers[0]
    names = [name for part in ("local_branch", "global_branch") for name, _ in getattr(layer, part).named_parameters()]
    matrices = ["convolution.weight", "attention.query_key_value.weight", "output.weight"]
    assert sorted(names) == sorted([*matrices, *["norm.weight", "norm.bias"] * 2])


def test_paper_model_is_equations_1_to_20(build: Build, histories: Histories) -> None:
    """Compare from the items to the probabilities. The paper has no padding, so the oracle takes one history."""
    model = scrambled(build(SPEC, "model=adamct_paper", hidden_size=D, activation="relu"))
    batch = histories(LENGTHS, N, SPEC.num_items)
    e_item, p_os, b_o = array(model.item_embedding.weight), array(model.position_embedding.weight), model.item_bias()
    for b, n in enumerate(LENGTHS):
        h = np.stack([e_item[batch.item_seq[b, i]] + p_os[i] for i in range(n)])
        for layer in model.layers:
            h = paper_layer(h, layer, ACTIVATIONS["relu"])
        delta = np.vectorize(ACTIVATIONS["gelu"])(linear(h[n - 1], model.head.linear))
        reference = [math.exp(delta @ e_item[v] + b_o[v].item()) for v in range(1, SPEC.num_items + 1)]
        probabilities = np.array(reference) / sum(reference)
        agree(scores(model, batch)[b, 1:].softmax(-1), probabilities)
        loss = cross_entropy(model.queries(batch)[b : b + 1], model.item_table(), b_o, batch.target[b : b + 1])
        agree(loss, -np.log(probabilities[batch.target[b] - 1]))
