"""Padding takes part in nothing, for every choice of AdaMCT's parts."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from adamct.batch import Batch
from adamct.losses.cross_entropy import cross_entropy
from adamct.models import adamct_variants as variants
from tests.models.adamct_oracles import N, scrambled
from tests.models.oracles import LENGTHS, SPEC, Build, D, Histories, agree

CONF = Path(__file__).parents[2] / "conf"


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
    """``assemble(names)``: a model with the parts of these YAMLs, one name for each of `OPTIONS`.

    Composing a config for each choice would take long. A few models have all parts between them.
    """
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
def assert_padding_takes_part_in_nothing(model: Any, histories: Histories) -> None:
    """Compare queries with more padding, with less, and without; the padding row is as random as the items."""
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
    [pytest.param(names, marks=[pytest.mark.slow] * (i % 4 > 0)) for i, names in enumerate(PRODUCT)],
    ids="-".join,
)
def test_masked_padding_takes_part_in_nothing(
    assemble: Callable[[tuple[str, ...]], Any], histories: Histories, names: tuple[str, ...]
) -> None:
    assert_padding_takes_part_in_nothing(assemble(names), histories)


@pytest.mark.parametrize("name", ["none", "softmax"])
def test_parts_of_the_paper_model_can_be_exchanged(build: Build, histories: Histories, name: str) -> None:
    overrides = [f"model/gate@model.parts.{gate}={name}" for gate in ("local_gate", "global_gate")]
    if name == "none":
        overrides += [f"model/{group}=none" for group in ("mixture", "local_branch", "global_branch")]
    model = build(SPEC, "model=adamct_paper", *overrides, hidden_size=D)
    assert not any(key.endswith(("squeeze.bias", "excite.bias")) for key, _ in model.named_parameters())
    assert isinstance(model.layers[0].local_gate, {"none": variants.NoGate, "softmax": variants.SoftmaxGate}[name])
    assert_padding_takes_part_in_nothing(scrambled(model), histories)


def test_attention_is_causal_and_convolution_looks_ahead(
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


@pytest.mark.parametrize("name", ["adamct", "adamct_paper"])
@pytest.mark.parametrize("padding", ["masked", "dense"])
def test_padding_row_stays_zero_and_untrained(build: Build, histories: Histories, name: str, padding: str) -> None:
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
