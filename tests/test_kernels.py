"""Every kernel against the operation of torch that it stands for: the same values and the same gradients."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch.utils._pytree import tree_leaves

from adamct import kernels

ITEMS, HIDDEN_SIZE = 37, 8


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


class Exact(NamedTuple):
    """The loss and its gradients in double precision, and the errors that single precision may make in each."""

    loss: Tensor
    gradients: list[Tensor]
    loss_error: float
    errors: list[Tensor]


def draw(count: int, with_bias: bool, scale: float = 1.0) -> tuple[list[Tensor], Tensor]:
    """Draw inputs, weights and perhaps biases in single precision, and targets."""
    generator = torch.Generator().manual_seed(count)
    inputs, weights = (torch.randn(rows, HIDDEN_SIZE, generator=generator) for rows in (count, ITEMS))
    bias = torch.randn(ITEMS, generator=generator)
    target = torch.randint(ITEMS, (count,), generator=generator)
    target[0] = ITEMS - 1
    tensors = [scale * inputs, weights, bias] if with_bias else [scale * inputs, weights]
    return [tensor.requires_grad_() for tensor in tensors], target


def cross_entropy_of(tensors: Sequence[Tensor], target: Tensor) -> Tensor:
    bias = tensors[2] if len(tensors) == 3 else None
    return kernels.linear_cross_entropy(tensors[0], tensors[1], target, linear_bias=bias)


def exactly(tensors: list[Tensor], target: Tensor) -> Exact:
    """Compute the mean cross-entropy over materialised logits in double precision.

    A sum of n products in single precision, in any order, is off by at most n u times the sum of their sizes, with u
    the unit roundoff. So a logit is off by at most ``delta``, a weight of the softmax by twice that share of itself,
    and a gradient by that share of the sum of the sizes of its terms.
    """
    inputs, weights, *biases = (tensor.detach().double() for tensor in tensors)
    bias = biases[0] if biases else inputs.new_zeros(len(weights))
    logits = inputs @ weights.T + bias
    shares = logits.softmax(1)
    one_hot = F.one_hot(target, len(weights)).double()
    unit = torch.finfo(torch.float32).eps / 2
    largest = float((inputs.abs() @ weights.abs().T + bias.abs()).max())
    terms = len(weights) + len(inputs)  # of the sums over classes and over inputs
    delta = (inputs.shape[1] + 1) * unit * largest
    relative = 2 * delta + terms * unit

    def gradients(of_logits: Tensor, inputs: Tensor, weights: Tensor) -> list[Tensor]:
        results = (of_logits @ weights, of_logits.T @ inputs, of_logits.sum(0))
        return [gradient / len(inputs) for gradient in results[: len(tensors)]]

    smallest = math.exp(kernels.UNDERFLOW)  # the least share that a class may have
    return Exact(
        F.cross_entropy(logits, target),
        gradients(shares - one_hot, inputs, weights),
        2 * delta + terms * unit * largest,
        gradients(relative * (shares + one_hot) + smallest, inputs.abs(), weights.abs()),
    )


@pytest.mark.parametrize("scale", [1.0, 100.0], ids=["bounded", "unbounded"])  # exp of the latter's logits overflows
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("count", [1, 127, 128, 129, 300])
def test_linear_cross_entropy_is_that_of_all_logits(
    count: int, with_bias: bool, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kernels.LOGITS_AT_ONCE, "cpu", 64 * ITEMS)
    tensors, target = draw(count, with_bias, scale)
    exact = exactly(tensors, target)
    loss = cross_entropy_of(tensors, target)
    gradients = torch.autograd.grad(4 * loss, tensors)  # as under a loss scale
    assert abs(loss.item() - exact.loss.item()) <= exact.loss_error
    for gradient, expected, error in zip(gradients, exact.gradients, exact.errors, strict=True):
        assert ((gradient.double() / 4 - expected).abs() <= error).all()


@pytest.mark.parametrize("with_bias", [True, False])
def test_compiled_linear_cross_entropy_holds_few_logits(with_bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checks cannot be traced
    sizes: list[int] = []

    def record(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        for node in graph.graph.nodes:
            sizes.extend(tensor.numel() for tensor in tree_leaves(node.meta.get("val")) if isinstance(tensor, Tensor))
        return make_boxed_func(graph)

    monkeypatch.setitem(kernels.LOGITS_AT_ONCE, "cpu", 64 * ITEMS)
    tensors, target = draw(300, with_bias)
    compiled = torch.compile(cross_entropy_of, backend=aot_autograd(fw_compiler=record), fullgraph=True)
    results = []
    for objective in (cross_entropy_of, compiled):
        loss = objective(tensors, target)
        results.append((loss.detach(), *torch.autograd.grad(loss, tensors)))
    torch.compiler.reset()
    torch.testing.assert_close(*results)
    assert 0 < max(sizes) <= 300 * (HIDDEN_SIZE + 1)  # and not 300 * ITEMS


def test_linear_cross_entropy_takes_a_row_at_a_time_if_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, target = draw(5, with_bias=True)
    at_once = cross_entropy_of(tensors, target)
    monkeypatch.setitem(kernels.LOGITS_AT_ONCE, "cpu", 1)
    torch.testing.assert_close(cross_entropy_of(tensors, target), at_once)


@pytest.mark.parametrize("device", ["cuda", "mps", "xpu", "hpu"])
def test_every_device_may_hold_some_logits(device: str) -> None:
    assert kernels.logits_at_once(torch.device(device)) >= 2**21


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
