"""The contract of `NextItemModel`, over every model that has a YAML."""

import math
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.base import NextItemModel, VectorModel
from adamct.training.step import training_loss
from tests.conftest import MODELS
from tests.models.oracles import SPEC, Build, Histories, cut, scores

LENGTHS = (1, 2, 3, 4, 5, 6, 8, 9)


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(name: str, build: Build) -> NextItemModel:
    torch.manual_seed(0)
    return build(SPEC, f"model={name}")


@pytest.fixture
def vector_model(model: NextItemModel) -> VectorModel:
    """The model; models that give scores themselves are skipped."""
    if not isinstance(model, VectorModel):
        pytest.skip("has no vectors")
    return model


@pytest.fixture
def learner(name: str, build: Build, configure: Build) -> VectorModel:
    """The model with every dropout of its YAML set to 0; models without parameters are skipped."""
    rates = [str(key) for key in configure(f"model={name}").model if str(key).endswith("dropout")]
    torch.manual_seed(0)
    learner = build(SPEC, f"model={name}", **dict.fromkeys(rates, 0.0))
    if not any(parameter.requires_grad for parameter in learner.parameters()):
        pytest.skip("has no parameters")
    assert isinstance(learner, VectorModel)
    return learner


@pytest.fixture
def padded(histories: Histories) -> Batch:
    return histories(LENGTHS, SPEC.max_len, SPEC.num_items)


def trimmed(model: NextItemModel, padded: Batch) -> Batch:
    """Return the batch as the datamodule gives it to this model."""
    return padded if model.pad_to_max_len else cut(padded, max(LENGTHS))


@torch.no_grad()
def perturb(model: NextItemModel) -> None:
    """Move the weights from their initial values, at which a part may happen to give 0."""
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn_like(parameter)


def test_some_model_has_a_yaml() -> None:
    assert {"adamct", "adamct_paper"} <= set(MODELS)


def test_vectors_have_the_shapes_and_types_of_the_contract(vector_model: VectorModel, padded: Batch) -> None:
    model, batch = vector_model, trimmed(vector_model, padded)
    table, bias, queries = model.item_table(), model.item_bias(), model.queries(batch)
    assert len(table) == SPEC.num_items + 1
    assert queries.shape == (len(LENGTHS), table.shape[1])
    assert bias is None or bias.shape == (SPEC.num_items + 1,)
    pairs, targets = model.training_pairs(batch)
    assert pairs.shape == (len(targets), table.shape[1])
    assert len(targets) >= 1
    assert all(x.dtype == torch.float32 for x in (queries, table, pairs, *([] if bias is None else [bias])))
    assert targets.dtype == torch.int64
    assert ((targets >= 1) & (targets <= SPEC.num_items)).all()


def test_scores_have_the_shapes_and_types_of_the_contract(model: NextItemModel, padded: Batch) -> None:
    batch = trimmed(model.eval(), padded)
    all_scores, whole = model.scores(batch), scores(model, batch)
    assert isinstance(model, NextItemModel)
    assert whole.shape == (all_scores.num_users, all_scores.num_items) == (len(LENGTHS), SPEC.num_items + 1)
    assert whole.dtype == all_scores.dtype == torch.float32
    assert whole.device == all_scores.device == model.device
    part, target = all_scores.rows(2, 5), batch.target[2:5]
    torch.testing.assert_close(part.block(4, 11), whole[2:5, 4:11])
    torch.testing.assert_close(part.for_targets(target, 7), whole[2:5].gather(1, target[:, None])[:, 0])


def test_loss_is_a_finite_positive_number(vector_model: VectorModel, padded: Batch) -> None:
    value = training_loss(vector_model, trimmed(vector_model, padded))
    assert value.shape == ()
    assert 0 < value < math.inf


def test_every_parameter_gets_a_gradient(learner: VectorModel, padded: Batch) -> None:
    perturb(learner)
    training_loss(learner, trimmed(learner, padded)).backward()
    without = [name for name, p in learner.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def test_training_overfits_one_batch_but_not_padding(learner: VectorModel, padded: Batch) -> None:
    batch = trimmed(learner, padded)
    repeated = batch.select(torch.arange(len(LENGTHS)).repeat_interleave(8))  # for random masks
    padding_row = learner.item_table()[0].clone()
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        training_loss(learner, repeated).backward()
        optimizer.step()
    learner.eval()
    fitted = F.cross_entropy(scores(learner, batch)[:, 1:], batch.target - 1)
    assert fitted < 0.1 * math.log(SPEC.num_items)
    assert torch.equal(learner.item_table()[0], padding_row)


def test_plain_kernels_give_the_same_loss_and_gradients(learner: VectorModel, padded: Batch) -> None:
    perturb(learner.double().eval())
    batch, results = trimmed(learner, padded), []
    for context in (nullcontext(), kernels.plain()):
        torch.manual_seed(0)
        with context:
            loss = training_loss(learner, batch)
        results.append((loss, *torch.autograd.grad(loss, list(learner.parameters()))))
    torch.testing.assert_close(*results)


def test_trimming_does_not_change_scores(model: NextItemModel, padded: Batch) -> None:
    if model.pad_to_max_len:
        pytest.skip("needs every batch padded to max_len")
    perturb(model.eval())
    torch.testing.assert_close(scores(model, trimmed(model, padded)), scores(model, padded), rtol=1e-5, atol=1e-5)


def test_scores_are_not_random_and_ignore_the_target(model: NextItemModel, padded: Batch) -> None:
    batch = trimmed(model.eval(), padded)
    other = batch._replace(target=batch.target % SPEC.num_items + 1)
    assert torch.equal(scores(model, batch), scores(model, other))


V, U = 12_102, 22_363
"""Items with padding, and users, of Beauty."""


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
def test_parameters_are_recboles_but_for_named_differences(
    overrides: str, recbole: int, difference: int, configure: Build
) -> None:
    model = instantiate(configure(*overrides.split()).model, _partial_=True)(DataSpec(V - 1, U, 50, torch.zeros(V)))
    assert sum(parameter.numel() for parameter in model.parameters()) == recbole + difference
