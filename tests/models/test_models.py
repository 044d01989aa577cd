"""The contract of `NextItemModel`, over every model that has a YAML."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adamct.batch import Batch, DataSpec
from adamct.losses.cross_entropy import cross_entropy
from adamct.models.base import NextItemModel

Build = Callable[..., Any]
Histories = Callable[[Sequence[int], int, int], Batch]

SPEC = DataSpec(num_items=30, num_users=8, max_len=12, item_counts=torch.arange(31.0))
LENGTHS = (1, 2, 3, 4, 5, 6, 8, 9)
MODELS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(name: str, build: Build) -> NextItemModel:
    torch.manual_seed(0)
    return build(SPEC, f"model={name}")


@pytest.fixture
def learner(name: str, build: Build, configure: Build) -> NextItemModel:
    """The model with every dropout of its YAML set to 0."""
    rates = [str(key) for key in configure(f"model={name}").model if str(key).endswith("dropout")]
    torch.manual_seed(0)
    learner = build(SPEC, f"model={name}", **dict.fromkeys(rates, 0.0))
    if not any(parameter.requires_grad for parameter in learner.parameters()):
        pytest.skip("nothing to learn")
    return learner


@pytest.fixture
def padded(histories: Histories) -> Batch:
    return histories(LENGTHS, SPEC.max_len, SPEC.num_items)


def trimmed(model: NextItemModel, padded: Batch) -> Batch:
    """The batch as the datamodule would give it to this model."""
    return padded if model.pad_to_max_len else padded._replace(item_seq=padded.item_seq[:, : max(LENGTHS)])


def loss(model: NextItemModel, batch: Batch) -> Tensor:
    """As a training step computes it."""
    queries, targets = model.training_pairs(batch)
    return cross_entropy(queries, model.item_table(), model.item_bias(), targets) + model.penalty(batch)


@torch.no_grad()
def scores(model: NextItemModel, batch: Batch) -> Tensor:
    return F.linear(model.queries(batch), model.item_table(), model.item_bias())


@torch.no_grad()
def perturb(model: NextItemModel) -> None:
    """Away from the initial weights, at which a part may happen to give 0."""
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn_like(parameter)


def test_some_model_has_a_yaml() -> None:
    assert {"adamct", "adamct_paper"} <= set(MODELS)


def test_vectors_have_the_shapes_and_types_of_the_contract(model: NextItemModel, padded: Batch) -> None:
    batch = trimmed(model, padded)
    table, bias, queries = model.item_table(), model.item_bias(), model.queries(batch)
    assert isinstance(model, NextItemModel)
    assert len(table) == SPEC.num_items + 1
    assert queries.shape == (len(LENGTHS), table.shape[1])
    assert bias is None or bias.shape == (SPEC.num_items + 1,)
    pairs, targets = model.training_pairs(batch)
    assert pairs.shape == (len(targets), table.shape[1])
    assert len(targets) >= 1
    assert all(x.dtype == torch.float32 for x in (queries, table, pairs, *([] if bias is None else [bias])))
    assert targets.dtype == torch.int64
    assert ((targets >= 1) & (targets <= SPEC.num_items)).all()


def test_loss_is_a_finite_positive_number(model: NextItemModel, padded: Batch) -> None:
    value = loss(model, trimmed(model, padded))
    assert value.shape == ()
    assert 0 < value < math.inf


def test_every_parameter_gets_a_gradient(learner: NextItemModel, padded: Batch) -> None:
    perturb(learner)
    loss(learner, trimmed(learner, padded)).backward()
    without = [name for name, p in learner.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def test_a_hundred_steps_overfit_one_batch_and_leave_the_padding_row(learner: NextItemModel, padded: Batch) -> None:
    batch = trimmed(learner, padded)
    user, item_seq, seq_len, target = (part.repeat_interleave(8, 0) for part in batch[:4])  # for who draws masks
    again = Batch(user, item_seq, seq_len, target)
    padding_row = learner.item_table()[0].clone()
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        loss(learner, again).backward()
        optimizer.step()
    learner.eval()
    fitted = F.cross_entropy(scores(learner, batch)[:, 1:], batch.target - 1)
    assert fitted < 0.1 * math.log(SPEC.num_items)
    assert torch.equal(learner.item_table()[0], padding_row)


def test_trimming_does_not_change_scores(model: NextItemModel, padded: Batch) -> None:
    if model.pad_to_max_len:
        pytest.skip("needs every batch padded to max_len")
    perturb(model.eval())
    torch.testing.assert_close(scores(model, trimmed(model, padded)), scores(model, padded), rtol=1e-5, atol=1e-5)


def test_evaluation_draws_nothing_and_does_not_look_at_the_target(model: NextItemModel, padded: Batch) -> None:
    batch = trimmed(model.eval(), padded)
    other = batch._replace(target=batch.target % SPEC.num_items + 1)
    assert torch.equal(scores(model, batch), scores(model, other))
