"""Cross-entropy over all items, with padding as a class or not."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adamct.batch import DataSpec
from adamct.losses.cross_entropy import CrossEntropy, cross_entropy

SPEC = DataSpec(num_items=37, num_users=3, max_len=5, item_counts=torch.ones(38))
COUNT, HIDDEN_SIZE = 20, 8


@pytest.fixture
def inputs() -> list[Tensor]:
    """Queries, item table and item bias in double precision. Padding has the largest scores."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((COUNT, HIDDEN_SIZE), (SPEC.num_items + 1, HIDDEN_SIZE), (SPEC.num_items + 1,))
    queries, table, bias = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    table[0], bias[0] = 10, 10
    return [tensor.requires_grad_() for tensor in (queries, table, bias)]


@pytest.fixture
def targets() -> Tensor:
    return torch.randint(1, SPEC.num_items + 1, (COUNT,), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("padding_is_a_class", [True, False])
def test_padding_is_left_out_unless_it_is_a_class(
    inputs: list[Tensor], targets: Tensor, padding_is_a_class: bool, with_bias: bool
) -> None:
    inputs = inputs if with_bias else inputs[:2]
    queries, table, bias = inputs[0], inputs[1], inputs[2] if with_bias else None
    logits = F.linear(queries, table, bias)
    if not padding_is_a_class:
        logits = logits.index_fill(1, torch.tensor([0]), -torch.inf)
    expected = F.cross_entropy(logits, targets)
    loss = cross_entropy(queries, table, bias, targets, padding_is_a_class)
    gradients, expected_gradients = (torch.autograd.grad(value, inputs) for value in (loss, expected))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients, expected_gradients)
    assert all(gradient[0].any() == padding_is_a_class for gradient in gradients[1:])  # the row and bias of padding


def test_the_configured_loss_is_cross_entropy(inputs: list[Tensor], targets: Tensor) -> None:
    loss, (queries, table, bias) = CrossEntropy(SPEC), inputs
    for padding_is_a_class in (True, False):
        expected = cross_entropy(queries, table, bias, targets, padding_is_a_class)
        assert torch.equal(loss(queries, table, bias, targets, padding_is_a_class), expected)
