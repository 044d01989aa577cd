"""The chunked objective equals the cross-entropy of materialised logits, in value and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adamct import losses

NUM_ITEMS, HIDDEN_SIZE = 37, 8


def draw(count: int, with_bias: bool, scale: float) -> tuple[list[Tensor], Tensor]:
    """Queries, item table and perhaps item bias, the padding's row far off; and targets."""
    generator = torch.Generator().manual_seed(count)
    queries, table = (torch.randn(rows, HIDDEN_SIZE, generator=generator) for rows in (count, NUM_ITEMS + 1))
    bias = torch.randn(NUM_ITEMS + 1, generator=generator)
    table[0], bias[0] = 10, 10
    targets = torch.randint(1, NUM_ITEMS + 1, (count,), generator=generator)
    targets[0] = NUM_ITEMS
    queries *= scale
    return [tensor.requires_grad_() for tensor in ([queries, table, bias] if with_bias else [queries, table])], targets


def on_materialised_logits(queries: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    logits = queries @ table.T if bias is None else queries @ table.T + bias
    logits = logits.index_fill(1, torch.tensor([0]), float("-inf"))  # the padding class has no probability
    return F.cross_entropy(logits, targets)


@pytest.mark.parametrize("scale", [1.0, 100.0], ids=["bounded", "unbounded"])  # exp of the latter's logits overflows
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("count", [1, 127, 128, 129, 300])
def test_cross_entropy_and_its_gradients_equal_those_of_materialised_logits(
    count: int, with_bias: bool, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(losses.LOGITS_AT_ONCE, "cpu", 64 * NUM_ITEMS)
    values, gradients = [], []
    for objective in (losses.cross_entropy, on_materialised_logits):
        inputs, targets = draw(count, with_bias, scale)
        loss = objective(inputs[0], inputs[1], inputs[2] if with_bias else None, targets)
        values.append(loss.detach())
        gradients.append(torch.autograd.grad(3 * loss, inputs))  # as under a loss scale
    torch.testing.assert_close(*values, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5 * scale)
    assert not any(gradient[0].any() for gradient in gradients[0][1:])  # the padding's row and bias


def test_a_table_larger_than_a_chunk_is_taken_a_row_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    (queries, table, bias), targets = draw(5, True, 1.0)
    whole = losses.cross_entropy(queries, table, bias, targets)
    monkeypatch.setitem(losses.LOGITS_AT_ONCE, "cpu", 1)
    torch.testing.assert_close(losses.cross_entropy(queries, table, bias, targets), whole)
