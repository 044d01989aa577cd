"""Drop-ins for operations of torch, faster on a CPU for short histories, or with less memory for many items.

Each has the name, the arguments and the result of the operation it stands for. Inside `plain` each is torch's own.
`torch.compile` traces torch's own dropout, softmax and attention.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable

from adamct.randomness import random_bits

LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**29}
"""Logits in memory together: 8 MiB, which stay in a processor's cache between operations, or 2 GiB of a GPU."""
LOGITS_ELSEWHERE = 2**27
"""The same for any other device: 512 MiB, as its memory may be that of the whole machine."""
SAFE_LOGIT = 60.0
"""Logits within ± this many neither overflow nor vanish in exp, nor do their sums over any catalogue."""
UNDERFLOW = -80.0
"""Exponents are cut here. A CPU takes a hundred times as long to exponentiate numbers that underflow."""
NEGLIGIBLE = 1e-30
"""Softmax weights below this share of their row's largest are set to 0, because their gradients would underflow."""
MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD = -3, -1, -2
"""Parameters of glibc's mallopt(3)."""

_fast = True


@contextmanager
def plain() -> Iterator[None]:
    """Use torch's own operations inside the context."""
    global _fast
    before, _fast = _fast, False
    try:
        yield
    finally:
        _fast = before


def keep_freed_memory() -> None:
    """Let glibc reuse freed memory instead of returning it to the system, which zeroes each page it hands out.

    A training step on a CPU frees and asks for a hundred tensors of a few MiB each; the zeroing is a fifth of its time.
    The peak does not change. Without glibc, and inside `plain`, this does nothing.
    """
    if not _fast:
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(MMAP_THRESHOLD, 32 * 2**20)  # the largest value it accepts
    mallopt(TRIM_THRESHOLD, 2**31 - 1)
    mallopt(TOP_PAD, 64 * 2**20)


def dropout(input: Float[Tensor, "*shape"], p: float = 0.5, training: bool = True) -> Float[Tensor, "*shape"]:
    """Zero elements with probability p and scale the others by 1 / (1 - p), as `torch.nn.functional.dropout` does.

    On a CPU each element takes 16 random bits from a generator of NumPy that torch's generator seeds. This takes a
    tenth of the time of torch's Bernoulli numbers. p is rounded to a multiple of 2^-16.
    """
    if not (training and 0 < p < 1 and _runs_on_cpu(input)):
        return F.dropout(input, p, training)
    numbers = random_bits(-(-input.numel() // 4))
    bits = torch.from_numpy(numbers.view(np.int16)[: input.numel()]).view(input.shape)  # from -2^15 to 2^15 - 1
    dropped = min(round(p * 2**16), 2**16 - 1)
    kept = torch.ge(bits, dropped - 2**15, out=torch.empty_like(input, requires_grad=False))  # 0.0 or 1.0
    return input * kept.mul_(2**16 / (2**16 - dropped))


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` by `dropout`."""

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the input with elements dropped, in training."""
        return dropout(input, self.p, self.training)


class Conv1d(nn.Conv1d):
    """`torch.nn.Conv1d` as a convolution over two axes.

    That takes an input with its channels last in memory without a copy. Transposed histories (B, N, D) are such inputs,
    and take half the time.
    """

    def forward(self, input: Float[Tensor, "B D N"]) -> Float[Tensor, "B D2 M"]:
        """Return the convolved input."""
        if not _fast or isinstance(self.padding, str) or self.padding_mode != "zeros":
            return super().forward(input)
        image, weight = input.unsqueeze(2), self.weight.unsqueeze(2)  # (B, D, 1, N), (D2, D, 1, kernel)
        stride, padding, dilation = (1, *self.stride), (0, *self.padding), (1, *self.dilation)
        return F.conv2d(image, weight, self.bias, stride, padding, dilation, self.groups).squeeze(2)


def unbind(input: Float[Tensor, "K ..."]) -> tuple[Float[Tensor, "..."], ...]:
    """Return the slices along the first axis, as `torch.unbind` does, each contiguous.

    One copy makes all slices contiguous, and one joins their gradients. torch's own slices are copied one by one in
    later products, and so are their gradients.
    """
    return _Unbind.apply(input) if _fast else input.unbind()  # pyright: ignore[reportReturnType]


class _Unbind(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Float[Tensor, "K ..."]) -> tuple[Tensor, ...]:
        ctx.shape, ctx.strides = input.shape, input.stride()
        return input.contiguous().unbind()

    @staticmethod
    def backward(ctx: Any, *grads: Float[Tensor, "..."]) -> Float[Tensor, "K ..."]:
        grad_input = grads[0].new_empty_strided(ctx.shape, ctx.strides)
        for grad_slice, grad in zip(grad_input, grads, strict=True):
            grad_slice.copy_(grad)
        return grad_input


def scaled_dot_product_attention(
    query: Float[Tensor, "B H M S"],
    key: Float[Tensor, "B H N S"],
    value: Float[Tensor, "B H N S2"],
    attn_mask: Float[Tensor, "B 1 #M N"],
    dropout_p: float = 0.0,
) -> Float[Tensor, "B H M S2"]:
    """Attend as `torch.nn.functional.scaled_dot_product_attention` does.

    The kernels that torch has for a CPU are slow for short histories.

    Args:
        query: the queries of each head.
        key: the keys of each head.
        value: the values of each head.
        attn_mask: numbers that are added to the scores.
        dropout_p: the probability with which a weight is dropped.
    """
    if not _runs_on_cpu(query):
        return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2) + attn_mask  # (B, H, M, N)
    return dropout(softmax(scores), dropout_p) @ value


def softmax(input: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
    """Return the softmax over a last axis of a few elements, as `torch.softmax` does.

    torch goes row by row on a CPU, which takes four times as long as operations on the whole tensor. Weights below
    `NEGLIGIBLE` are 0.
    """
    return _Softmax.apply(input) if _runs_on_cpu(input) else input.softmax(-1)  # pyright: ignore[reportReturnType]


class _Softmax(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, scores: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        weights = (scores - scores.amax(-1, keepdim=True)).clamp_(min=UNDERFLOW).exp_()
        weights = torch.threshold_(weights, NEGLIGIBLE, 0.0)
        weights /= _row_sums(weights)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    @custom_bwd(device_type="cpu")
    def backward(ctx: Any, *grads: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows N"]:
        (weights,) = ctx.saved_tensors
        weighted = grads[0] * weights
        return weighted.addcmul_(weights, _row_sums(weighted), value=-1)


def _row_sums(x: Float[Tensor, "*rows N"]) -> Float[Tensor, "*rows 1"]:
    return x @ x.new_ones(x.shape[-1], 1)  # a product is faster than a sum over a short axis


def _runs_on_cpu(tensor: Tensor) -> bool:
    return _fast and tensor.is_cpu and not torch.compiler.is_compiling()


def linear_cross_entropy(
    input: Float[Tensor, "M D"],
    linear_weight: Float[Tensor, "V D"],
    target: Int[Tensor, " M"],
    *,
    linear_bias: Float[Tensor, " V"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of ``linear(input, linear_weight, linear_bias)``.

    This is `torch.nn.functional.linear_cross_entropy` of torch 2.13. At most `logits_at_once` logits are in memory
    together, and each is computed once for the loss and its gradients.
    """
    few = not input.is_cpu and len(input) * len(linear_weight) <= logits_at_once(input.device)
    if few or not _fast:
        return F.cross_entropy(F.linear(input, linear_weight, linear_bias), target)
    if linear_bias is not None:  # as one more column, which costs a product less than adding it does
        input = torch.cat([input, input.new_ones(len(input), 1)], 1)
        linear_weight = torch.cat([linear_weight, linear_bias[:, None]], 1)
    return _LinearCrossEntropy.apply(input, linear_weight, target)  # pyright: ignore[reportReturnType]


def logits_at_once(device: torch.device) -> int:
    """Return how many logits may be in memory together on a device."""
    return LOGITS_AT_ONCE.get(device.type, LOGITS_ELSEWHERE)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, input: Float[Tensor, "M D"], weight: Float[Tensor, "V D"], target: Int[Tensor, " M"]
    ) -> Float[Tensor, ""]:
        compute = _compiled_loss_and_gradients if torch.compiler.is_compiling() else _loss_and_gradients
        loss, grad_input, grad_weight = compute(input, weight, target)
        ctx.save_for_backward(grad_input, grad_weight)
        return loss

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # the decorator drops the parameter names
        ctx: Any, *grads: Float[Tensor, ""]
    ) -> tuple[Tensor, Tensor, None]:
        grad_input, grad_weight = ctx.saved_tensors
        return grad_input * grads[0], grad_weight * grads[0], None


def _loss_and_gradients(
    input: Float[Tensor, "M D"], weight: Float[Tensor, "V D"], target: Int[Tensor, " M"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "M D"], Float[Tensor, "V D"]]:
    """Return the mean cross-entropy of ``input @ weight.T`` and its gradients, a few rows of logits at a time.

    With Z_m = sum_v exp(x_m w_v), the gradient of the mean loss is sum_v exp(x_m w_v) w_v / (Z_m M) for x_m, less w of
    the target / M, and likewise for w_v. Each logit is computed once, exponentiated in place and used three times.

    Nothing is read from a GPU, which would have to finish its work first. Only a CPU looks at the size of the logits.
    """
    columns = weight.T.contiguous()  # (D, V)
    bounded = input.is_cpu and bool(  # by the inequality of Cauchy and Schwarz
        input.norm(dim=1).max() * weight.norm(dim=1).max() <= SAFE_LOGIT
    )
    rows = max(1, logits_at_once(input.device) // len(weight))
    grad_input, grad_columns = torch.empty_like(input), torch.zeros_like(columns)
    buffer = input.new_empty(min(rows, len(input)), len(weight))
    loss = input.new_zeros(())
    for x, label, grad_x in zip(input.split(rows), target.split(rows), grad_input.split(rows), strict=True):
        logits = torch.mm(x, columns, out=buffer[: len(x)])  # (rows, V)
        loss -= logits.gather(1, label[:, None]).sum()
        if not bounded:
            largest = logits.amax(1, keepdim=True)
            logits.sub_(largest).clamp_(min=UNDERFLOW)
            loss += largest.sum()
        exponentials = logits.exp_()
        total = exponentials.sum(1, keepdim=True)  # (rows, 1)
        loss += total.log().sum()
        scale = 1 / (total * len(input))
        torch.mul((columns @ exponentials.T).T, scale, out=grad_x)
        grad_columns.addmm_((x * scale).T, exponentials)
    grad_weight = grad_columns.T.contiguous()  # (V, D)
    grad_input.sub_(weight[target], alpha=1 / len(input))
    grad_weight.index_add_(0, target, input, alpha=-1 / len(input))
    return loss / len(input), grad_input, grad_weight


_compiled_loss_and_gradients = torch.library.custom_op(
    "adamct::loss_and_gradients",
    _loss_and_gradients,
    mutates_args=(),
    schema="(Tensor input, Tensor weight, Tensor target) -> (Tensor, Tensor, Tensor)",
)
"""`_loss_and_gradients` as one operation of a compiled graph. Without it the graph would hold every chunk."""


@_compiled_loss_and_gradients.register_fake
def _(input: Tensor, weight: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return input.new_empty(()), torch.empty_like(input), torch.empty_like(weight)
