"""Objectives over (queries, item table, targets): the logits of a whole batch are never in memory at once."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamct.batch import DataSpec

LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**29}
"""How many are in memory together: 8 MiB, which stay in a processor's cache between operations, or 2 GiB of a GPU."""
SAFE_LOGIT = 60.0
"""Logits within ± this many neither overflow nor vanish in exp, nor do their sums over any catalogue."""


def cross_entropy(
    queries: Float[Tensor, "M D"],
    item_table: Float[Tensor, "V D"],
    item_bias: Float[Tensor, " V"] | None,
    targets: Int[Tensor, " M"],
    padding_is_a_class: bool = False,
) -> Float[Tensor, ""]:
    """Return the mean negative log-likelihood of the targets under a softmax over all items (Eq. 20).

    Row 0 of the table, padding, is a class of the softmax only with ``padding_is_a_class``. It is never a target.
    """
    first = 0 if padding_is_a_class else 1
    table, classes = item_table[first:], targets - first
    bias = None if item_bias is None else item_bias[first:]
    small = queries.is_cuda and len(queries) * len(table) <= LOGITS_AT_ONCE["cuda"]
    if small or torch.compiler.is_compiling():
        return F.cross_entropy(F.linear(queries, table, bias), classes)
    return ChunkedCrossEntropy.apply(queries, table, bias, classes)  # pyright: ignore[reportReturnType]


class CrossEntropy:
    """`cross_entropy` as what ``conf/loss`` chooses."""

    def __init__(self, spec: DataSpec):
        del spec  # all objectives are built alike

    def __call__(
        self,
        queries: Float[Tensor, "M D"],
        item_table: Float[Tensor, "V D"],
        item_bias: Float[Tensor, " V"] | None,
        targets: Int[Tensor, " M"],
        padding_is_a_class: bool = False,
    ) -> Float[Tensor, ""]:
        """The mean loss of some queries, of which each is to score its target high."""
        return cross_entropy(queries, item_table, item_bias, targets, padding_is_a_class)


class ChunkedCrossEntropy(torch.autograd.Function):
    """Cross-entropy whose gradients are made in the same pass over the logits as its value.

    With Z_m = sum_v exp(q_m e_v + b_v), the gradient of the mean loss is sum_v exp(q_m e_v + b_v) e_v / (Z_m M) for
    q_m, less e of the target / M, and likewise for e_v: each logit is made once, exponentiated in place, used thrice.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "M D"],
        table: Float[Tensor, "V D"],
        bias: Float[Tensor, " V"] | None,
        classes: Int[Tensor, " M"],
    ) -> Float[Tensor, ""]:
        """The loss; classes count from 0."""
        if bias is not None:  # as one more column, which costs a product less than adding it does
            queries = torch.cat([queries, queries.new_ones(len(queries), 1)], 1)
            table = torch.cat([table, bias[:, None]], 1)
        columns = table.T.contiguous()  # (D, V)
        bounded = bool(queries.norm(dim=1).max() * table.norm(dim=1).max() <= SAFE_LOGIT)  # Cauchy and Schwarz
        rows = max(1, LOGITS_AT_ONCE[queries.device.type] // len(table))
        grad_queries, grad_columns = torch.empty_like(queries), torch.zeros_like(columns)
        weights = queries.new_empty(rows, len(table))
        loss = queries.new_zeros(())
        for query, target, grad_query in zip(
            queries.split(rows), classes.split(rows), grad_queries.split(rows), strict=True
        ):
            weight = torch.mm(query, columns, out=weights[: len(query)])  # (rows, V): the logits
            loss -= weight.gather(1, target[:, None]).sum()
            if not bounded:
                highest = weight.amax(1, keepdim=True)
                weight.sub_(highest).clamp_(min=-80)  # to exp what underflows takes a hundred times as long
                loss += highest.sum()
            weight.exp_()
            total = weight.sum(1, keepdim=True)  # (rows, 1)
            loss += total.log().sum()
            scale = 1 / (total * len(queries))
            torch.mul((columns @ weight.T).T, scale, out=grad_query)
            grad_columns.addmm_((query * scale).T, weight)
        grad_table = grad_columns.T.contiguous()  # (V, D)
        grad_queries.sub_(table[classes], alpha=1 / len(queries))
        grad_table.index_add_(0, classes, queries, alpha=-1 / len(queries))
        ctx.has_bias = bias is not None
        ctx.save_for_backward(grad_queries, grad_table)
        return loss / len(queries)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # the decorator leaves the names out
        ctx: Any, *grads: Float[Tensor, ""]
    ) -> tuple[Tensor, Tensor, Tensor | None, None]:
        """What forward has made, scaled."""
        grad_queries, grad_table = (grad * grads[0] for grad in ctx.saved_tensors)
        if not ctx.has_bias:
            return grad_queries, grad_table, None, None
        return grad_queries[:, :-1], grad_table[:, :-1], grad_table[:, -1], None
