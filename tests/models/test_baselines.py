"""Laws of the baselines: what sets each apart, against loops written from its paper.

The reference of an equation works on one user's history without padding, (n, D); the symbols are the papers'.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from adamct.batch import Batch, DataSpec
from adamct.models.gcsan import GraphLayer, session_graph
from adamct.models.gru4rec import GRULayer
from adamct.models.layers import MultiHeadAttention, TransformerLayer
from adamct.models.nextitnet import CausalConvolution
from adamct.models.sine import AttentivePooling

Array = npt.NDArray[np.float64]
Build = Callable[..., Any]
Histories = Callable[[Sequence[int], int, int], Batch]

SPEC = DataSpec(num_items=30, num_users=8, max_len=12, item_counts=torch.arange(31.0))
D, WINDOW = 8, 5
LENGTHS = (1, 8, 3, 5)

gelu = np.vectorize(lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2)
relu = np.vectorize(lambda v: max(v, 0.0))
sigma = np.vectorize(lambda v: 1 / (1 + math.exp(-v)))


def softmax(x: npt.ArrayLike) -> Array:
    e = np.exp(np.asarray(x))
    return e / e.sum()


def weighted(weights: npt.ArrayLike, vectors: npt.ArrayLike) -> Array:
    """The sum of the vectors, each times its weight."""
    total = np.zeros(np.shape(vectors)[1:])
    for weight, vector in zip(np.asarray(weights), np.asarray(vectors), strict=True):
        total = total + weight * vector
    return total


def array(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


def linear(x: Array, module: nn.Linear) -> Array:
    return x @ array(module.weight).T + (0 if module.bias is None else array(module.bias))


def layer_norm(x: Array, module: nn.LayerNorm, eps: float = 1e-12) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return unit * array(module.weight) + array(module.bias)


def agree(ours: Tensor, reference: npt.ArrayLike, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(array(ours), np.asarray(reference), rtol=tolerance, atol=tolerance)


def scores(model: Any, batch: Batch) -> Tensor:
    return F.linear(model.queries(batch), model.item_table(), model.item_bias())


def lists(batch: Batch) -> list[list[int]]:
    """The histories, without padding."""
    return [row[:n] for row, n in zip(batch.item_seq.tolist(), batch.seq_len.tolist(), strict=True)]


def row_of(history: Sequence[int]) -> Batch:
    return Batch(torch.tensor([0]), torch.tensor([history]), torch.tensor([len(history)]), torch.tensor([1]))


@pytest.fixture
def make(build: Build) -> Build:
    """A small model in float64 and eval mode, its weights moved from where they start, padding rows still 0."""

    def make(name: str, spec: DataSpec = SPEC, **keys: object) -> Any:
        torch.manual_seed(0)
        model = build(spec, f"model={name}", hidden_size=D, **keys).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
            for module in model.modules():
                if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                    module.weight[module.padding_idx] = 0
        return model

    return make


@pytest.fixture
def batch(histories: Histories) -> Batch:
    return histories(LENGTHS, SPEC.max_len, SPEC.num_items)


def multi_head(x: Array, module: MultiHeadAttention, backwards: bool, biased: bool) -> Array:
    """Heads of softmax(Q K^T / sqrt(D/H)) V, concatenated; ``backwards`` sees items up to its own, else all."""
    n, d = x.shape
    size = d // module.num_heads
    projection = module.query_key_value
    q, k, v = np.split(linear(x, projection) if biased else x @ array(projection.weight).T, 3, 1)
    out = np.zeros((n, d))
    for head in range(module.num_heads):
        own = slice(head * size, (head + 1) * size)
        for i in range(n):
            seen = range(i + 1) if backwards else range(n)
            weight = softmax([sum(q[i, own] * k[j, own]) / math.sqrt(size) for j in seen])
            out[i, own] = weighted(weight, v[seen, own])
    return out


def transformer(x: Array, layer: TransformerLayer, backwards: bool) -> Array:
    """LN(A + FFN(A)) with A = LN(x + MH(x)) and FFN(A) = GELU(A W_1 + b_1) W_2 + b_2."""
    attended = linear(multi_head(x, layer.attention, backwards, biased=True), layer.output)
    a = layer_norm(x + attended, layer.attention_norm)
    return layer_norm(a + linear(gelu(linear(a, layer.inner)), layer.outer), layer.norm)


@pytest.mark.parametrize("name", ["gru4rec", "nextitnet", "sasrec"])
def test_all_positions_predict_what_every_prefix_predicts(name: str, make: Build, batch: Batch) -> None:
    model = make(name, all_positions=True)
    pairs, targets = model.training_pairs(batch)
    whole = [[*row, target] for row, target in zip(lists(batch), batch.target.tolist(), strict=True)]
    prefixes = [(items, n) for items in whole for n in range(1, len(items))]
    assert targets.tolist() == [items[n] for items, n in prefixes]
    agree(pairs, np.concatenate([array(model.queries(row_of(items[:n]))) for items, n in prefixes]))


def gru(x: Array, layer: GRULayer) -> Array:
    """Eq. 1 to 4."""
    w_z, w_r, w = np.split(array(layer.input.weight), 3)
    u_z, u_r = np.split(array(layer.gates.weight), 2)
    u = array(layer.candidate.weight)
    h, states = np.zeros(len(u)), []
    for x_t in x:
        z, r = sigma(w_z @ x_t + u_z @ h), sigma(w_r @ x_t + u_r @ h)
        h = (1 - z) * h + z * np.tanh(w @ x_t + u @ (r * h))
        states.append(h)
    return np.stack(states)


def test_gru4rec_gates_a_recurrence_and_resets_before_u(make: Build, batch: Batch) -> None:
    model = make("gru4rec", num_layers=2, state_size=6)
    table = array(model.item_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        hidden = table[history]
        for layer in model.layers:
            hidden = gru(hidden, layer)
        agree(ours, table @ linear(hidden[-1], model.dense))


def test_sasrec_attends_backwards_in_pre_norm_blocks_and_scores_with_its_input_table(make: Build, batch: Batch) -> None:
    model = make("sasrec")
    table = array(model.item_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        x = np.array([table[item] + array(model.position_embedding.weight)[t] for t, item in enumerate(history)])
        for block in model.blocks:
            x = x + multi_head(layer_norm(x, block.attention_norm), block.attention, backwards=True, biased=False)
            x = x + linear(relu(linear(layer_norm(x, block.feed_forward_norm), block.inner)), block.outer)
        agree(ours, table @ layer_norm(x[-1], model.norm))


def convolved(x: Array, convolution: CausalConvolution, dilation: int) -> Array:
    """Section 3.3: each position sees its own and those a multiple of the dilation before, zeros before the first."""
    filters, size = array(convolution.weight), convolution.kernel_size[0]
    out = np.tile(array(convolution.bias) if convolution.bias is not None else 0.0, (len(x), 1))
    for t in range(len(x)):
        for back in range(size):
            if t - back * dilation >= 0:
                out[t] += filters[:, :, size - 1 - back] @ x[t - back * dilation]
    return out


def test_nextitnet_adds_two_dilated_convolutions_to_each_state(make: Build, batch: Batch) -> None:
    model = make("nextitnet", dilations=[1, 3])
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        x = array(model.item_embedding.weight)[history]
        for block, dilation in zip(model.blocks, (1, 3), strict=True):
            inner = relu(layer_norm(convolved(x, block.first, dilation), block.first_norm, eps=1e-8))
            x = x + relu(layer_norm(convolved(inner, block.second, 2 * dilation), block.second_norm, eps=1e-8))
        agree(ours, array(model.output_embedding.weight) @ x[-1] + array(model.output_bias))


def test_nextitnet_state_depends_on_the_items_of_its_receptive_field_alone(make: Build, histories: Histories) -> None:
    model, length, position = make("nextitnet", dilations=[1, 4], kernel_size=3), 44, 38
    history = histories([length], length, SPEC.num_items).item_seq
    changed = history.repeat(length, 1)
    changed.diagonal().copy_(history[0] % SPEC.num_items + 1)
    moved = (model.states(changed)[:, position] - model.states(history)[:, position]).abs().amax(-1) > 1e-12
    field = 1 + 2 * (1 + 2 + 4 + 8)
    assert moved.nonzero().flatten().tolist() == list(range(position - field + 1, position + 1))


def cloze(model: Any, items: Sequence[int], hidden: Sequence[int]) -> Array:
    """Eq. 1 to 7 for the masks at the positions ``hidden``, before the table, with the authors' two more norms."""
    table, positions = array(model.item_embedding.weight), array(model.position_embedding.weight)
    masked = [array(model.mask_embedding) if t in hidden else table[item] for t, item in enumerate(items)]
    x = layer_norm(np.array(masked) + positions[: len(items)], model.embedding_norm)
    for layer in model.layers:
        x = transformer(x, layer, backwards=False)
    return layer_norm(gelu(linear(x[list(hidden)], model.head)), model.head_norm)


def distinct(lengths: Sequence[int], width: int) -> tuple[DataSpec, Batch]:
    """No item occurs twice in the batch, so that an item tells its position."""
    count, seq_len = len(lengths), torch.tensor(lengths)
    items = torch.arange(1, count * (width + 1) + 1).view(count, -1)
    target = items.gather(1, seq_len[:, None]).squeeze(1)
    item_seq = items[:, :width].masked_fill(torch.arange(width) >= seq_len[:, None], 0)
    spec = DataSpec(items.numel(), count, width, torch.zeros(items.numel() + 1))
    return spec, Batch(torch.arange(count), item_seq, seq_len, target)


def test_bert4rec_fills_in_a_mask_after_the_history(make: Build, batch: Batch) -> None:
    model = make("bert4rec", inner_size=12)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        filled = cloze(model, [*history, 0], [len(history)])[0]
        agree(ours, array(model.item_embedding.weight) @ filled + array(model.output_bias))


@pytest.mark.parametrize("mask_prob", [0.01, 0.5, 0.99])
def test_bert4rec_trains_on_the_masked_items_of_every_history_and_its_target(mask_prob: float, make: Build) -> None:
    spec, batch = distinct((1, 8, 3, 5, 12), 12)
    model = make("bert4rec", spec=spec, inner_size=12, mask_prob=mask_prob, last_prob=0.0)
    pairs, targets = model.training_pairs(batch)
    expected, items_hidden = [], []
    for history, target in zip(lists(batch), batch.target.tolist(), strict=True):
        items = [*history, target]
        hidden = [t for t, item in enumerate(items) if item in targets.tolist()]
        assert hidden
        expected.append(cloze(model, items, hidden))
        items_hidden += [items[t] for t in hidden]
    assert targets.tolist() == items_hidden
    agree(pairs, np.concatenate(expected))


@pytest.mark.parametrize("last_prob", [0.0, 0.3, 1.0])
def test_bert4rec_masks_the_last_alone_in_a_share_and_else_all_positions_alike(last_prob: float, make: Build) -> None:
    spec, batch = distinct([12] * 500, 12)
    model = make("bert4rec", spec=spec, num_layers=1, mask_prob=0.4, last_prob=last_prob)
    pairs, targets = model.training_pairs(batch)
    user, position = (targets - 1) // 13, (targets - 1) % 13
    alone = (torch.bincount(user, minlength=500)[user] == 1) & (position == 12)
    rest = 500 - int(alone.sum())
    assert rest / 500 == pytest.approx(1 - last_prob, abs=0.08 if last_prob < 1 else 0)
    assert torch.bincount(position[~alone], minlength=13).tolist() == pytest.approx([0.4 * rest] * 13, abs=0.1 * rest)
    agree(pairs[alone], array(model.queries(batch))[user[alone].numpy()])


def last_items(model: Any, history: Sequence[int]) -> Array:
    """The embeddings of the last L items, zero vectors before the first."""
    items = np.zeros((WINDOW, D))
    for back in range(1, min(WINDOW, len(history)) + 1):
        items[-back] = array(model.item_embedding.weight)[history[-back]]
    return items


def test_caser_convolves_items_both_ways_and_joins_the_user(make: Build, batch: Batch) -> None:
    model = make("caser", window=WINDOW, num_horizontal=3, num_vertical=2)
    for user, (history, ours) in enumerate(zip(lists(batch), scores(model, batch), strict=True)):
        e, vertical = last_items(model, history), array(model.vertical.weight)
        features = [sum(f[t] * e[t, d] for t in range(WINDOW)) for d in range(D) for f in vertical]  # Eq. 6-8
        for height, convolution in enumerate(model.horizontal, start=1):
            for f, bias in zip(array(convolution.weight), array(convolution.bias), strict=True):
                starts = range(WINDOW - height + 1)
                responses = [max((f * e[i : i + height].T).sum() + bias, 0) for i in starts]  # Eq. 3
                features.append(max(responses))  # Eq. 5
        z = relu(linear(np.array(features), model.dense))  # Eq. 9
        joined = np.concatenate([z, array(model.user_embedding.weight)[user]])
        agree(ours, array(model.output_embedding.weight) @ joined + array(model.output_bias))  # Eq. 10


def test_hgn_gates_features_then_items_and_adds_the_items_themselves(make: Build, batch: Batch) -> None:
    model = make("hgn", window=WINDOW)
    w_3, w_4 = array(model.item_gate.weight)[0], array(model.item_gate_user.weight)
    for b, (history, ours) in enumerate(zip(lists(batch), scores(model, batch), strict=True)):
        user, items = array(model.user_embedding.weight)[b], last_items(model, history)
        gated, gates = np.zeros(D), 0.0
        for t in range(WINDOW - min(WINDOW, len(history)), WINDOW):
            gate = sigma(linear(items[t], model.feature_gate) + array(model.feature_gate_user.weight) @ user)
            feature = items[t] * gate
            item_gate = sigma(w_3 @ feature + w_4[t] @ user)
            gated, gates = gated + feature * item_gate, gates + item_gate
        agree(ours, array(model.output_embedding.weight) @ (user + gated / gates + items.sum(0)))


@pytest.mark.parametrize("name", ["caser", "hgn"])
def test_only_the_items_of_the_window_matter(name: str, make: Build, histories: Histories) -> None:
    model, history = make(name, window=WINDOW), histories([9], 9, SPEC.num_items).item_seq[0].tolist()
    expected = array(model.queries(row_of(history)))
    for t in range(9):
        changed = [item % SPEC.num_items + 1 if t == i else item for i, item in enumerate(history)]
        same = np.allclose(array(model.queries(row_of(changed))), expected, rtol=0, atol=1e-12)
        assert same == (t < 9 - WINDOW)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=8), min_size=1, max_size=3))
def test_session_graph_shares_out_the_steps_between_items(rows: list[list[int]]) -> None:
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
    """Eq. 1 and 2, on a state for each item."""
    steps = list(pairwise(history))
    w_z, w_r, w_h = np.split(array(layer.from_neighbours.weight), 3)
    p_z, p_r = np.split(array(layer.gates.weight), 2)
    after = {}
    for item, s in states.items():
        before = [linear(states[a], layer.edges_in) for a, c in steps if c == item]
        behind = [linear(states[c], layer.edges_out) for a, c in steps if a == item]
        a = np.concatenate([sum(heard, np.zeros(D)) / max(len(heard), 1) for heard in (before, behind)])
        z, r = sigma(w_z @ a + p_z @ s), sigma(w_r @ a + p_r @ s)
        candidate = np.tanh(w_h @ a + array(layer.candidate.weight) @ (r * s))
        after[item] = (1 - z) * s + z * candidate
    return after


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_gcsan_weighs_attention_over_all_items_with_the_graph_state(
    share: float, make: Build, histories: Histories
) -> None:
    model = make("gcsan", num_graph_layers=2, num_layers=2, attention_weight=share).float()
    repeating, table = histories(LENGTHS, SPEC.max_len, 4), array(model.item_embedding.weight)
    assert any(len(set(history)) < len(history) for history in lists(repeating))
    for history, ours in zip(lists(repeating), scores(model, repeating), strict=True):
        states = {item: table[item] for item in history}
        for layer in model.graph_layers:
            states = graph_step(states, history, layer)
        h = e = np.array([states[item] for item in history])
        for layer in model.layers:
            attended = multi_head(e, layer.attention, backwards=False, biased=False)  # Eq. 3
            e = linear(relu(linear(attended, layer.inner)), layer.outer) + attended  # Eq. 4
        agree(ours, table @ (share * e[-1] + (1 - share) * h[-1]), tolerance=1e-5)  # Eq. 7, 8


def pooling(x: Array, module: AttentivePooling, kind: int) -> Array:
    """softmax(tanh(X W_1) w_2), the weights of one kind over the positions."""
    w_1, w_2 = array(module.hidden.weight)[kind * D : (kind + 1) * D], array(module.score)[kind]
    return softmax([sum(w_2 * np.tanh(w_1 @ x_t)) for x_t in x])


def interests_joined(model: Any, x: Array, count: int) -> Array:
    """Eq. 2 to 10."""
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


def test_sine_joins_the_interests_of_the_nearest_prototypes(make: Build, batch: Batch) -> None:
    model = make("sine", num_prototypes=7, num_interests=3, temperature=0.5)
    table = array(model.item_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        agree(ours, table @ interests_joined(model, table[history], 3))


def test_sine_penalty_is_on_the_covariance_of_each_two_prototypes(make: Build, batch: Batch) -> None:
    model = make("sine", num_prototypes=7, num_interests=3, penalty_weight=0.3)
    total = 0.0
    for (i, a), (j, b) in product(enumerate(array(model.prototypes)), repeat=2):
        covariance = sum((a[d] - a.mean()) * (b[d] - b.mean()) for d in range(D)) / D
        total += covariance**2 if i != j else 0
    agree(model.penalty(batch), 0.3 * total / 2)


def importance(model: Any, x: Array) -> Array:
    """Eq. 3 and 4: the weights of a history's items by a transformer."""
    hidden = layer_norm(x + array(model.position_embedding.weight)[: len(x)], model.norm)
    for layer in model.layers:
        hidden = transformer(hidden, layer, backwards=True)
    return softmax(linear(hidden, model.score)[:, 0])


@pytest.mark.parametrize("name", ["core", "core_ave"])
def test_core_compares_a_weighted_mean_of_the_items_by_cosine(name: str, make: Build, batch: Batch) -> None:
    model = make(name, temperature=0.2)
    table = array(model.item_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        x = table[history]
        weight = importance(model.weights, x) if name == "core" else [1 / len(x)] * len(x)
        mean = weighted(weight, x)
        lengths = np.linalg.norm(mean) * np.linalg.norm(table[1:], axis=1)
        agree(ours[1:], table[1:] @ mean / lengths / 0.2)
        assert ours.abs().max() <= 1 / 0.2 + 1e-9


@pytest.mark.parametrize("name", ["core", "core_ave"])
def test_core_weights_are_shares_of_the_items_alone(name: str, make: Build, batch: Batch) -> None:
    model, is_item = make(name), batch.item_seq != 0
    weight = model.weights(model.item_embedding(batch.item_seq), is_item)
    agree(weight.sum(1), np.ones(len(LENGTHS)), tolerance=1e-6)
    assert torch.equal(weight > 0, is_item)


def test_core_drops_out_of_the_history_and_the_scored_items_apart_and_only_in_training(make: Build) -> None:
    single = torch.arange(1, SPEC.num_items + 1)  # each history an item of its own
    batch = Batch(single, single[:, None], torch.ones_like(single), single)
    for rates in ((0.0, 0.5), (0.5, 0.0)):
        model = make("core_ave", session_dropout=rates[0], item_dropout=rates[1], temperature=1.0)
        whole = F.normalize(model.item_embedding.weight[1:], dim=-1)
        agree(model.queries(batch), array(whole))
        agree(model.item_table()[1:], array(whole))
        model.train()
        for rate, ours in zip(rates, (model.queries(batch), model.item_table()[1:]), strict=True):
            kept = ours != 0
            assert kept.double().mean().item() == pytest.approx(1 - rate, abs=0.2 if rate else 0)
            agree(ours, array(F.normalize(whole * kept, dim=-1)))


V, U = 12_102, 22_363
"""Of Beauty: items with padding, users."""


@pytest.mark.parametrize(
    ("overrides", "recbole", "difference"),
    [
        ("model=gru4rec model.state_size=64 model.num_layers=2", 827_840, 0),
        ("model=caser model.window=50 model.num_horizontal=8", 2_909_532, V * 129 - (128 * 64 + 64) - 4 - 64),
        ("model=nextitnet model.dilations=[1,4,1,4,1,4,1,4,1,4]", 1_028_288, V * 65 - (64 * 64 + 64)),
        ("model=sasrec", 877_824, 2 * (20_864 - 49_984)),  # the paper's blocks for BERT's
        ("model=bert4rec", 894_278, 64),  # room for the mask
        ("model=hgn model.window=50", 2_992_000, -3 * 64),  # RecBole: a padding user, and three biases that add up
        ("model=gcsan model.num_layers=2", 920_064, 2 * (20_608 - 49_984) - 2 * 192),
        ("model=sine model.num_interests=3", 798_784, 50 * 64 + 64 * 64 + 2 * 128),
        ("model=core", 877_889, -1),  # a bias before a softmax
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_parameters_are_recboles_but_for_what_the_docstrings_say(
    overrides: str, recbole: int, difference: int, configure: Build
) -> None:
    model = instantiate(configure(*overrides.split()).model, _partial_=True)(DataSpec(V - 1, U, 50, torch.zeros(V)))
    assert sum(parameter.numel() for parameter in model.parameters()) == recbole + difference
