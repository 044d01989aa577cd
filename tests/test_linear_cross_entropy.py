"""The cross-entropy over all items equals that of all logits, and holds few of them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch.utils._pytree import tree_leaves

from adamct import kernels

ITEMS, HIDDEN_SIZE = 37, 8


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
