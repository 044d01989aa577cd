"""Laws of AdaMCT: each equation against loops written from the paper, the released computation, and what padding does.

The reference of an equation works on one user's history, (N, D); the symbols are the paper's.
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import Tensor, nn

from adamct.batch import Batch, DataSpec
from adamct.errors import InputError, explain
from adamct.losses.cross_entropy import cross_entropy
from adamct.losses.sampled import BayesianPersonalisedRanking
from adamct.models import adamct as parts
from adamct.models import adamct_variants as variants
from adamct.models.layers import Activation, MultiHeadAttention, causal_mask
from adamct.training.step import training_loss

Array = npt.NDArray[np.float64]
Build = Callable[..., Any]
Histories = Callable[[Sequence[int], int, int], Batch]

CONF = Path(__file__).parents[2] / "conf"
SPEC = DataSpec(num_items=30, num_users=8, max_len=12, item_counts=torch.zeros(31))
N, D = SPEC.max_len, 8
HPARAMS = parts.Hyperparameters(
    num_items=SPEC.num_items,
    max_len=N,
    hidden_size=D,
    num_heads=2,
    kernel_size=3,
    reduction=2,
    activation="gelu",
    dropout=0.5,
    attn_dropout=0.5,
)
LENGTHS = (1, 8, 3, 5)
PHI: dict[str, Callable[[float], float]] = {
    "gelu": lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2,
    "relu": lambda v: max(v, 0.0),
    "swish": lambda v: v / (1 + math.exp(-v)),
    "tanh": math.tanh,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
}
sigma = np.vectorize(PHI["sigmoid"])


def scrambled(module: Any) -> Any:
    """The module in float64 with random weights everywhere, norms and biases too, and no dropout."""
    generator = torch.Generator().manual_seed(1)
    module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return module


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def array(tensor: Tensor) -> Array:
    return tensor.detach().numpy()


def agree(ours: Tensor, reference: Tensor | npt.ArrayLike) -> None:
    expected = array(reference) if isinstance(reference, Tensor) else np.asarray(reference)
    np.testing.assert_allclose(array(ours), expected, rtol=1e-9, atol=1e-9)


def scores(model: Any, batch: Batch) -> Tensor:
    return F.linear(model.queries(batch), model.item_table(), model.item_bias())


def linear(x: Array, module: nn.Linear) -> Array:
    return x @ array(module.weight).T + array(module.bias)


def layer_norm(x: Array, module: nn.LayerNorm) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return unit * array(module.weight) + array(module.bias)


def en(h: Array, projection: nn.Sequential) -> Array:
    """Eq. 5 and 7."""
    first, _, last = projection
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.LayerNorm)
    return layer_norm(linear(h, first), last)


def mhsa(e: Array, branch: parts.SelfAttention, is_item: list[bool]) -> Array:
    """Eq. 2 to 4 and 6, and keys that are padding masked."""
    n, d = e.shape
    size = d // branch.attention.num_heads
    w_q, w_k, w_v = np.split(array(branch.attention.query_key_value.weight), 3)
    b_q, b_k, b_v = np.split(array(branch.attention.query_key_value.bias), 3)
    concat = np.zeros((n, d))
    for head in range(branch.attention.num_heads):
        own = slice(head * size, (head + 1) * size)
        q, k, v = (e @ w[own].T + b[own] for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v)))
        for i in range(n):
            seen = [j for j in range(i + 1) if is_item[j]]
            a = [math.exp(sum(q[i] * k[j]) / math.sqrt(d / branch.attention.num_heads)) for j in seen]
            concat[i, own] = sum(a_j * v[j] for a_j, j in zip(a, seen, strict=True)) / sum(a)
    return layer_norm(linear(concat, branch.output), branch.norm)


def conv_mid(e: Array, branch: Any, phi: Callable[[float], float], norm_first: bool) -> Array:
    """Eq. 8 to 10, or LN before Φ as released; zeros on both sides keep the length."""
    (n, d), k = e.shape, branch.convolution.kernel_size[0]
    filters, bias = array(branch.convolution.weight), array(branch.convolution.bias)
    padded = np.concatenate([np.zeros((k // 2, d)), e, np.zeros((k // 2, d))])
    c = np.zeros((n, d))
    for j, i in product(range(n), range(d)):
        c[j, i] = bias[i] + sum(padded[j + t] @ filters[i, :, t] for t in range(k))
    activate = np.vectorize(phi)
    return activate(layer_norm(c, branch.norm)) if norm_first else layer_norm(activate(c), branch.norm)


def seatt(mod: Array, gate: parts.SqueezeExcitation, visible: list[bool]) -> Array:
    """Eq. 12 to 14 over max_len positions, those that are not visible having Z = 0; a weight per position of mod."""
    w_1, w_2 = array(gate.squeeze.weight), array(gate.excite.weight)
    z = np.zeros(w_1.shape[1])
    for i in range(len(mod)):
        z[i] = sum(mod[i]) / mod.shape[1] if visible[i] else 0
    squeezed = [sum(w_1[r, i] * z[i] for i in range(len(z))) for r in range(len(w_1))]
    squeezed = squeezed if gate.squeeze.bias is None else squeezed + array(gate.squeeze.bias)
    g = [sum(w_2[i, r] * max(squeezed[r], 0.0) for r in range(len(w_1))) for i in range(len(mod))]
    g = np.array(g if gate.excite.bias is None else g + array(gate.excite.bias)[: len(mod)])
    if isinstance(gate, parts.SigmoidGate):
        return sigma(g)
    total = sum(math.exp(g[i]) for i in range(len(g)) if visible[i])
    return np.array([math.exp(g[i]) / total if visible[i] else 0 for i in range(len(g))])


def ada(h: Array, coefficient: parts.Coefficient) -> float:
    """Eq. 15 and 16."""
    pool = np.array([sum(h[:, j]) for j in range(h.shape[1])]) / len(h)
    return sigma(linear(pool, coefficient.linear)).item()


def paper_layer(h: Array, layer: Any, phi: Callable[[float], float], without: str | None = None) -> Array:
    """Eq. 1, 11, 17 and 18."""
    all_real = [True] * len(h)
    g_trm = mhsa(en(h, layer.inputs.global_projection), layer.global_branch, all_real)
    l_conv = conv_mid(en(h, layer.inputs.local_projection), layer.local_branch, phi, norm_first=False)
    g_trm, l_conv = g_trm * (without != "global_branch"), l_conv * (without != "local_branch")
    if without != "global_gate":
        g_trm = seatt(g_trm, layer.global_gate, all_real)[:, None] * g_trm
    if without != "local_gate":
        l_conv = seatt(l_conv, layer.local_gate, all_real)[:, None] * l_conv
    alpha = ada(h, layer.mixture.coefficient)
    return layer_norm(h + linear(alpha * l_conv + (1 - alpha) * g_trm, layer.output), layer.norm)


def is_item_of(lengths: tuple[int, ...], width: int) -> Tensor:
    return torch.arange(width) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_attention_is_equations_2_to_6(num_heads: int) -> None:
    branch = scrambled(parts.SelfAttention(HPARAMS._replace(num_heads=num_heads), output_dropout=0.5))
    x, is_item = random(4, N, D), is_item_of(LENGTHS, N)
    agree(branch(x, causal_mask(is_item)), [mhsa(array(x[b]), branch, is_item[b].tolist()) for b in range(4)])


@pytest.mark.parametrize("activation", PHI)
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_convolution_is_equations_8_to_10_and_as_released_with_the_norm_first(
    kernel_size: int, activation: Activation
) -> None:
    x, hparams = random(1, 7, D), HPARAMS._replace(kernel_size=kernel_size, activation=activation)
    for branch, norm_first in (
        (scrambled(variants.PaperConvolution(hparams, dropout=0.5)), False),
        (scrambled(parts.Convolution(hparams)), True),
    ):
        agree(branch(x)[0], conv_mid(array(x[0]), branch, PHI[activation], norm_first))


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
def test_adaptive_mixture_is_equations_15_to_17_and_table_3_leaves_one_coefficient_out(
    mixture_class: type[parts.AdaptiveMixture],
    local_weight: Callable[[float], float],
    global_weight: Callable[[float], float],
) -> None:
    mixture, (hidden, l_conv, g_trm) = scrambled(mixture_class(HPARAMS)), random(3, 4, N, D)
    alphas = [ada(array(hidden[b, :length]), mixture.coefficient) for b, length in enumerate(LENGTHS)]
    expected = [local_weight(a) * array(l_conv[b]) + global_weight(a) * array(g_trm[b]) for b, a in enumerate(alphas)]
    agree(mixture(hidden, l_conv, g_trm, is_item_of(LENGTHS, N)), expected)


@pytest.mark.parametrize(("mixture", "a", "b"), [("none", 1, 1), ("fixed", 0.5, 0.5), ("fixed", 0.25, 0.75)])
def test_fixed_mixture_weighs_all_users_alike(build: Build, mixture: str, a: float, b: float) -> None:
    weights = {} if a == b else {"parts.mixture.local_weight": a, "parts.mixture.global_weight": b}
    layer = build(SPEC, f"model/mixture={mixture}", **weights).layers[0]
    hidden, l_conv, g_trm = random(3, 4, N, D)
    agree(layer.mixture(hidden, l_conv, g_trm, is_item_of(LENGTHS, N)), a * l_conv + b * g_trm)


@pytest.mark.parametrize("without", [None, "local_branch", "global_branch", "local_gate", "global_gate"])
def test_layer_is_equations_1_11_and_18_also_without_a_part(build: Build, without: str | None) -> None:
    model = build(SPEC, "model=adamct_paper", hidden_size=D)
    layer = scrambled(model.layers[0])
    bare = deepcopy(layer)
    if without:
        setattr(bare, without, variants.NoGate() if without.endswith("gate") else variants.NoBranch())
    h, all_real = random(1, N, D), torch.ones(1, N, dtype=torch.bool)
    agree(bare(h, causal_mask(all_real), all_real)[0], paper_layer(array(h[0]), layer, PHI["gelu"], without))


def test_paper_model_is_the_equations_from_items_to_probabilities(build: Build, histories: Histories) -> None:
    """Section 3.3 and Eq. 1 to 20; the paper has no padding, so the reference sees each history by itself."""
    model = scrambled(build(SPEC, "model=adamct_paper", hidden_size=D, activation="relu"))
    batch = histories(LENGTHS, N, SPEC.num_items)
    e_item, p_os, b_o = array(model.item_embedding.weight), array(model.position_embedding.weight), model.item_bias()
    for b, n in enumerate(LENGTHS):
        h = np.stack([e_item[batch.item_seq[b, i]] + p_os[i] for i in range(n)])
        for layer in model.layers:
            h = paper_layer(h, layer, PHI["relu"])
        delta = np.vectorize(PHI["gelu"])(linear(h[n - 1], model.head.linear))
        reference = [math.exp(delta @ e_item[v] + b_o[v].item()) for v in range(1, SPEC.num_items + 1)]
        probabilities = np.array(reference) / sum(reference)
        agree(scores(model, batch)[b, 1:].softmax(-1), probabilities)
        loss = cross_entropy(model.queries(batch)[b : b + 1], model.item_table(), b_o, batch.target[b : b + 1])
        agree(loss, -np.log(probabilities[batch.target[b] - 1]))


def released(model: Any, batch: Batch, num_heads: int, phi: Callable[[Tensor], Tensor]) -> Tensor:
    """The scores of all rows of the item table that the released code computes, from our model's weights.

    Its embedding has padding_idx=0, so that looking padding up gives its row no gradient.
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


PHI_OF_TENSORS = {"gelu": F.gelu, "relu": F.relu, "swish": F.silu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


@pytest.mark.parametrize("activation", PHI)
@pytest.mark.parametrize("num_heads", [1, 2, 4])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_dense_default_model_ranks_as_the_released_code(
    build: Build, histories: Histories, kernel_size: int, num_heads: int, activation: str
) -> None:
    sizes = {"hidden_size": D, "num_heads": num_heads, "kernel_size": kernel_size, "activation": activation}
    model = scrambled(build(SPEC, "model=adamct", padding="dense", **sizes))
    batch = histories((1, 8, 3, N), N, SPEC.num_items)
    assert model.pad_to_max_len
    agree(scores(model, batch), released(model, batch, num_heads, PHI_OF_TENSORS[activation]))


def test_released_padding_makes_the_default_model_the_released_code_also_in_training(
    build: Build, histories: Histories
) -> None:
    """The scores, the loss with padding as a class and all gradients are equal; padding's is from the softmax alone."""
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


def test_released_padding_starts_as_any_item_and_is_refused_with_sampled_negatives(
    build: Build, histories: Histories
) -> None:
    model, batch = build(SPEC, "model=adamct", padding="released"), histories(LENGTHS, N, SPEC.num_items)
    assert model.item_embedding.weight[0].all()
    spec = SPEC._replace(item_counts=torch.ones(SPEC.num_items + 1))
    with pytest.raises(InputError, match=r"^loss: .* padding is a class .* loss=cross_entropy"):
        training_loss(model, batch, BayesianPersonalisedRanking(spec, 2))


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / "model" / group).glob("*.yaml"))


OPTIONS = {
    "mixture": options("mixture"),
    "local_branch": options("local_branch"),
    "global_branch": options("global_branch"),
    "local_gate": options("gate"),
    "global_gate": options("gate"),
}


@pytest.fixture(scope="module")
def assemble(build: Build) -> Callable[[tuple[str, ...]], Any]:
    """A model of any choice of YAMLs, one for each part; a few composed configs have every part between them."""
    donors = {}
    for i in range(max(map(len, OPTIONS.values()))):
        choice = {part: names[i % len(names)] for part, names in OPTIONS.items()}
        groups = {part: f"gate@model.parts.{part}" if part.endswith("gate") else part for part in choice}
        overrides = [f"model/{groups[part]}={name}" for part, name in choice.items()]
        model = scrambled(build(SPEC, "model=adamct", *overrides, hidden_size=D))
        donors |= dict.fromkeys(choice.items(), model)
    host = scrambled(build(SPEC, "model=adamct", hidden_size=D))

    def assemble(names: tuple[str, ...]) -> Any:
        for i, layer in enumerate(host.layers):
            for part, name in zip(OPTIONS, names, strict=True):
                setattr(layer, part, getattr(donors[part, name].layers[i], part))
        return host

    return assemble


@torch.no_grad()
def check_padding_takes_part_in_nothing(model: Any, histories: Histories) -> None:
    """What stands at padding is as random as the items, and makes no difference to having no padding at all."""
    assert not model.pad_to_max_len
    trimmed, padded = (histories(LENGTHS, width, SPEC.num_items) for width in (max(LENGTHS), N))
    queries = model.queries(trimmed)
    agree(model.queries(padded), queries)
    for b in (0, 2):
        alone = Batch(trimmed.user[[b]], trimmed.item_seq[[b], : LENGTHS[b]], trimmed.seq_len[[b]], trimmed.target[[b]])
        agree(model.queries(alone), queries[[b]])


PRODUCT = list(product(*OPTIONS.values()))


@pytest.mark.parametrize(
    "names",
    [pytest.param(names, marks=[pytest.mark.slow] * (at % 4 > 0)) for at, names in enumerate(PRODUCT)],
    ids="-".join,
)
def test_masked_padding_and_other_users_take_part_in_nothing(
    assemble: Callable[[tuple[str, ...]], Any], histories: Histories, names: tuple[str, ...]
) -> None:
    check_padding_takes_part_in_nothing(assemble(names), histories)


@pytest.mark.parametrize("name", ["none", "softmax"])
def test_parts_of_the_paper_model_can_be_exchanged_as_well(build: Build, histories: Histories, name: str) -> None:
    overrides = [f"model/gate@model.parts.{gate}={name}" for gate in ("local_gate", "global_gate")]
    if name == "none":
        overrides += [f"model/{group}=none" for group in ("mixture", "local_branch", "global_branch")]
    model = build(SPEC, "model=adamct_paper", *overrides, hidden_size=D)
    assert not any(key.endswith(("squeeze.bias", "excite.bias")) for key, _ in model.named_parameters())
    assert isinstance(model.layers[0].local_gate, {"none": variants.NoGate, "softmax": variants.SoftmaxGate}[name])
    check_padding_takes_part_in_nothing(scrambled(model), histories)


def test_attention_alone_is_causal_and_the_convolution_looks_ahead(
    assemble: Callable[[tuple[str, ...]], Any], histories: Histories
) -> None:
    seq = histories((N,), N, SPEC.num_items).item_seq
    later = torch.cat([seq[:, :6], seq[:, 6:] % SPEC.num_items + 1], 1)
    causal = assemble(("fixed", "none", "attention", "none", "none"))
    before, after = causal.hidden_states(seq), causal.hidden_states(later)
    agree(after[:, :6], before[:, :6])
    assert ((after[:, 6:] - before[:, 6:]).abs().amax(-1) > 1e-3).all()
    both_ways = assemble(("fixed", "convolution", "none", "none", "none"))
    moved = (both_ways.hidden_states(later) - both_ways.hidden_states(seq)).abs().amax(-1)[0] > 1e-9
    assert moved.tolist() == [False] * 4 + [True] * 8  # two layers of kernel size 3 look two items ahead


@pytest.mark.parametrize(
    ("dataset", "num_items", "parameters"),
    [("beauty", 12_101, 210_910), ("toys", 11_924, 413_022), ("sports", 18_357, 1_258_258)],
)
def test_tuned_default_has_as_many_parameters_as_the_released_code(
    configure: Build, dataset: str, num_items: int, parameters: int
) -> None:
    cfg = configure("model=adamct", f"dataset={dataset}")
    model = instantiate(cfg.model, _partial_=True)(
        DataSpec(num_items, 1, cfg.dataset.max_len, torch.zeros(num_items + 1))
    )
    assert cfg.dataset.max_len == 50
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_dropout_is_where_the_released_code_or_the_equations_have_it(build: Build) -> None:
    def rates(name: str) -> dict[str, list[float]]:
        model = build(SPEC, f"model={name}", dropout=0.25, attn_dropout=0.75)
        named = {"entry": model.entry, **dict(model.layers[1].named_children()), "head": model.head}
        rates = {key: [rate for m in part.modules() if (rate := rate_of(m))] for key, part in named.items()}
        return {key: values for key, values in rates.items() if values}

    def rate_of(module: nn.Module) -> float:
        if isinstance(module, MultiHeadAttention):
            return module.dropout
        return module.p if isinstance(module, nn.Dropout) else 0.0

    assert rates("adamct") == {"entry": [0.25], "inputs": [0.25], "global_branch": [0.75], "dropout": [0.25]}
    assert rates("adamct_paper") == {
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


@pytest.mark.parametrize("name", ["adamct", "adamct_paper"])
@pytest.mark.parametrize("padding", ["masked", "dense"])
def test_padding_item_stays_zero_and_is_never_trained(
    build: Build, histories: Histories, name: str, padding: str
) -> None:
    model, batch = build(SPEC, f"model={name}", padding=padding), histories(LENGTHS, N, SPEC.num_items)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        queries, targets = model.training_pairs(batch)
        cross_entropy(queries, model.item_table(), model.item_bias(), targets).backward()
        assert not model.item_embedding.weight.grad[0].any()
        assert model.item_embedding.weight.grad[1:].any(-1).all()
        optimizer.step()
        assert not model.item_table()[0].any()


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
