"""Every kernel against the operation of torch that it stands for: the same values and the same gradients."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamct import kernels


def random(*shape: int, scale: float = 1.0) -> Tensor:
    """Draw the same numbers for the same shape, as a leaf that needs a gradient."""
    generator = torch.Generator().manual_seed(sum(shape))
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()


def assert_equal_gradients(output: Tensor, expected: Tensor, inputs: Sequence[Tensor]) -> None:
    """Compare two results and their gradients for the same inputs."""
    torch.testing.assert_close(output, expected)
    outer = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=expected.dtype)
    gradients, expected_gradients = (torch.autograd.grad((x * outer).sum(), inputs) for x in (output, expected))
    torch.testing.assert_close(gradients, expected_gradients)


@pytest.mark.parametrize("p", [0.1, 0.43, 0.5, 0.99, 1 - 2**-20])
def test_dropout_keeps_its_share_and_the_mean(p: float) -> None:
    torch.manual_seed(0)
    count = 1_000_001  # not a multiple of the elements that share a number
    x = torch.ones(count, requires_grad=True)
    dropped = kernels.Dropout(p)(x)
    kept = dropped.detach() != 0
    rate = min(round(p * 2**16), 2**16 - 1) / 2**16
    deviation = (rate * (1 - rate) / count) ** 0.5
    assert abs(kept.double().mean() - (1 - rate)) < 5 * deviation
    assert dropped[kept].unique().tolist() == pytest.approx([1 / (1 - rate)])
    dropped.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, dropped.detach())


def test_dropout_is_independent_between_elements() -> None:
    torch.manual_seed(0)
    kept = (kernels.dropout(torch.ones(400_000)) != 0).double().view(-1, 4) - 0.5
    covariance = kept.T @ kept / len(kept)  # of the four elements that share a random number
    assert torch.allclose(covariance, 0.25 * torch.eye(4, dtype=torch.double), atol=0.003)
    assert abs((kept[:-1] * kept[1:]).mean()) < 0.003


def test_dropout_follows_torchs_generator() -> None:
    x = random(3, 5, 7)
    torch.manual_seed(1)
    first, second = kernels.dropout(x, 0.3), kernels.dropout(x, 0.3)
    torch.manual_seed(1)
    assert torch.equal(kernels.dropout(x, 0.3), first)
    assert not torch.equal(second, first)


@pytest.mark.parametrize(("p", "training", "factor"), [(0.3, False, 1.0), (0.0, True, 1.0), (1.0, True, 0.0)])
def test_dropout_without_chance_is_exact(p: float, training: bool, factor: float) -> None:
    x = random(3, 5, 7)
    assert torch.equal(kernels.Dropout(p).train(training)(x), factor * x)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 5, "padding": 2, "stride": 2, "groups": 2},
        {"kernel_size": 3, "dilation": 4, "bias": False},
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
    ],
    ids=str,
)
def test_conv1d_is_torchs(options: dict[str, Any]) -> None:
    ours = kernels.Conv1d(6, 4, **options).double()
    expected = nn.Conv1d(6, 4, **options).double()
    expected.load_state_dict(ours.state_dict())
    x = random(3, 11, 6)
    output, target = ours(x.transpose(1, 2)), expected(x.transpose(1, 2))
    outer = torch.randn_like(target)
    gradients = torch.autograd.grad((output * outer).sum(), [x, *ours.parameters()])
    expected_gradients = torch.autograd.grad((target * outer).sum(), [x, *expected.parameters()])
    torch.testing.assert_close(output, target)
    torch.testing.assert_close(gradients, expected_gradients)


def test_unbind_is_torchs_with_contiguous_slices() -> None:
    x = random(2, 5, 3, 4)
    slices = kernels.unbind(x.permute(2, 0, 3, 1))
    assert all(part.is_contiguous() for part in slices)
    assert_equal_gradients(torch.stack(slices), torch.stack(x.permute(2, 0, 3, 1).unbind()), [x])


def test_softmax_is_torchs_but_for_negligible_weights() -> None:
    later = torch.ones(7, 7).triu(1).bool()
    scores = random(5, 2, 7, 7, scale=30).detach().masked_fill(later, -torch.inf).requires_grad_()
    weights, expected = kernels.softmax(scores), scores.softmax(-1)
    assert torch.equal(weights == 0, expected < kernels.NEGLIGIBLE)
    assert_equal_gradients(weights, expected, [scores])


def test_scaled_dot_product_attention_is_torchs() -> None:
    query, key, value = random(2, 3, 6, 4), random(2, 3, 6, 4), random(2, 3, 6, 5)
    mask = torch.zeros(2, 1, 6, 6, dtype=torch.float64).masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf)
    for attn_mask in (mask, mask[:, :, -1:]):
        expected = F.scaled_dot_product_attention(query, key, value, attn_mask)
        output = kernels.scaled_dot_product_attention(query, key, value, attn_mask)
        assert_equal_gradients(output, expected, [query, key, value])


def test_attention_drops_weights_and_not_values() -> None:
    torch.manual_seed(0)
    query, key, value = random(50, 2, 1, 4), random(50, 2, 3, 4), torch.eye(3, dtype=torch.float64).expand(50, 2, 3, 3)
    mask = torch.zeros(50, 1, 1, 3, dtype=torch.float64)
    weights = kernels.scaled_dot_product_attention(query, key, value, mask)
    dropped = kernels.scaled_dot_product_attention(query, key, value, mask, dropout_p=0.5)
    kept = dropped != 0
    torch.testing.assert_close(dropped, 2 * weights * kept)
    assert kept.double().mean().item() == pytest.approx(0.5, abs=0.15)


MASK = torch.zeros(2, 1, 3, 3, dtype=torch.float64)
TARGET = torch.tensor([3, 0])
PLAIN: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]] = {
    "dropout": (partial(kernels.dropout, p=0.4), partial(F.dropout, p=0.4), [random(5, 6)]),
    "Dropout": (kernels.Dropout(0.4), nn.Dropout(0.4), [random(5, 6)]),
    "unbind": (lambda x: kernels.unbind(x)[1], lambda x: x.unbind()[1], [random(2, 5)]),
    "softmax": (kernels.softmax, partial(torch.softmax, dim=-1), [random(5, 6)]),
    "scaled_dot_product_attention": (
        partial(kernels.scaled_dot_product_attention, attn_mask=MASK, dropout_p=0.4),
        partial(F.scaled_dot_product_attention, attn_mask=MASK, dropout_p=0.4),
        [random(2, 1, 3, 4), random(2, 1, 3, 4), random(2, 1, 3, 4)],
    ),
    "linear_cross_entropy": (
        partial(kernels.linear_cross_entropy, target=TARGET),
        lambda x, weight: F.cross_entropy(F.linear(x, weight), TARGET),
        [random(2, 4), random(6, 4)],
    ),
}
"""Each kernel, the operation of torch, and inputs of both."""


def forbidden(*_: Any, **__: Any) -> None:
    raise AssertionError("a kernel ran inside plain()")


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where the fast code of a kernel runs."""
    for function in (kernels._Unbind, kernels._Softmax, kernels._LinearCrossEntropy):
        monkeypatch.setattr(function, "apply", forbidden)
    monkeypatch.setattr(kernels, "random_bits", forbidden)
    monkeypatch.setattr(F, "conv2d", forbidden)


@pytest.mark.parametrize(("kernel", "operation", "inputs"), PLAIN.values(), ids=PLAIN)
def test_plain_runs_torchs_own_operation(
    kernel: Callable[..., Tensor], operation: Callable[..., Tensor], inputs: list[Tensor], no_kernels: None
) -> None:
    with pytest.raises(AssertionError, match="a kernel ran"):
        kernel(*inputs)
    results = []
    with kernels.plain():
        for compute in (kernel, operation):
            torch.manual_seed(0)
            results.append(compute(*inputs))
    assert torch.equal(*results)
    gradients = [torch.autograd.grad(result.sum(), inputs) for result in results]
    assert all(map(torch.equal, *gradients))


def test_plain_runs_torchs_own_convolution(no_kernels: None) -> None:
    convolution, x = kernels.Conv1d(4, 3, 3).double(), random(2, 4, 9)
    with pytest.raises(AssertionError, match="a kernel ran"):
        convolution(x)
    with kernels.plain():
        assert torch.equal(convolution(x), F.conv1d(x, convolution.weight, convolution.bias))


def test_plain_ends_with_its_context_also_after_an_error(no_kernels: None) -> None:
    with suppress(RuntimeError), kernels.plain():
        with kernels.plain():
            pass
        kernels.softmax(random(5, 6))  # still plain
        raise RuntimeError
    with pytest.raises(AssertionError, match="a kernel ran"):
        kernels.softmax(random(5, 6))
