"""Objectives over (queries, item table, targets): the logits of a whole batch are never in memory at once."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamct.batch import DataSpec

LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**29}
"""Logits in memory together: 8 MiB, which stay in a processor's cache between operations, or 2 GiB of a GPU."""
LOGITS_ELSEWHERE = 2**27
"""The same for any other device: 512 MiB, as its memory may be that of the whole machine."""
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
    if not queries.is_cpu and len(queries) * len(table) <= logits_at_once(queries.device):
        return F.cross_entropy(F.linear(queries, table, bias), classes)
    return ChunkedCrossEntropy.apply(queries, table, bias, classes)  # pyright: ignore[reportReturnType]


def logits_at_once(device: torch.device) -> int:
    """Return how many logits may be in memory together on a device."""
    return LOGITS_AT_ONCE.get(device.type, LOGITS_ELSEWHERE)


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
    """Cross-entropy whose gradients come from the same pass over the logits as its value."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "M D"],
        table: Float[Tensor, "V D"],
        bias: Float[Tensor, " V"] | None,
        classes: Int[Tensor, " M"],
    ) -> Float[Tensor, ""]:
        """Return the loss; classes count from 0."""
        if bias is not None:  # as one more column, which costs a product less than adding it does
            queries = torch.cat([queries, queries.new_ones(len(queries), 1)], 1)
            table = torch.cat([table, bias[:, None]], 1)
        compute = compiled_chunks if torch.compiler.is_compiling() else loss_and_gradients
        loss, grad_queries, grad_table = compute(queries, table, classes)
        ctx.has_bias = bias is not None
        ctx.save_for_backward(grad_queries, grad_table)
        return loss

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # the decorator leaves the names out
        ctx: Any, *grads: Float[Tensor, ""]
    ) -> tuple[Tensor, Tensor, Tensor | None, None]:
        """Scale the gradients that forward has made."""
        grad_queries, grad_table = (grad * grads[0] for grad in ctx.saved_tensors)
        if not ctx.has_bias:
            return grad_queries, grad_table, None, None
        return grad_queries[:, :-1], grad_table[:, :-1], grad_table[:, -1], None


def loss_and_gradients(
    queries: Float[Tensor, "M D"], table: Float[Tensor, "V D"], classes: Int[Tensor, " M"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "M D"], Float[Tensor, "V D"]]:
    """Return the mean cross-entropy of ``queries @ table.T`` and its gradients, a few rows of logits at a time.

    With Z_m = sum_v exp(q_m e_v), the gradient of the mean loss is sum_v exp(q_m e_v) e_v / (Z_m M) for q_m, less e of
    the target / M, and likewise for e_v. Each logit is computed once, exponentiated in place and used three times.

    Nothing is read from a GPU, which would have to finish its work first; only a CPU looks at the size of the logits.
    """
    columns = table.T.contiguous()  # (D, V)
    bounded = queries.is_cpu and bool(  # by the inequality of Cauchy and Schwarz
        queries.norm(dim=1).max() * table.norm(dim=1).max() <= SAFE_LOGIT
    )
    rows = max(1, logits_at_once(queries.device) // len(table))
    grad_queries, grad_columns = torch.empty_like(queries), torch.zeros_like(columns)
    weights = queries.new_empty(min(rows, len(queries)), len(table))
    loss = queries.new_zeros(())
    for query, target, grad_query in zip(
        queries.split(rows), classes.split(rows), grad_queries.split(rows), strict=True
    ):
        weight = torch.mm(query, columns, out=weights[: len(query)])  # (rows, V): the logits
        loss -= weight.gather(1, target[:, None]).sum()
        if not bounded:
            highest = weight.amax(1, keepdim=True)
            weight.sub_(highest).clamp_(min=-80)  # to exp what underflows takes a CPU a hundred times as long
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
    return loss / len(queries), grad_queries, grad_table


compiled_chunks = torch.library.custom_op(
    "adamct::loss_and_gradients",
    loss_and_gradients,
    mutates_args=(),
    schema="(Tensor queries, Tensor table, Tensor classes) -> (Tensor, Tensor, Tensor)",
)
"""`loss_and_gradients` as one operation of a compiled graph, which would otherwise be a graph of every chunk."""


@compiled_chunks.register_fake
def _(queries: Tensor, table: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return queries.new_empty(()), torch.empty_like(queries), torch.empty_like(table)
