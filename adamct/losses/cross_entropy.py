"""Cross-entropy over all items."""

from jaxtyping import Float, Int
from torch import Tensor

from adamct import kernels
from adamct.losses.base import ItemLoss


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
    bias = None if item_bias is None else item_bias[first:]
    return kernels.linear_cross_entropy(queries, item_table[first:], targets - first, linear_bias=bias)


class CrossEntropy(ItemLoss):
    """`cross_entropy` as a loss of ``conf/loss``."""

    def __call__(
        self,
        queries: Float[Tensor, "M D"],
        item_table: Float[Tensor, "V D"],
        item_bias: Float[Tensor, " V"] | None,
        targets: Int[Tensor, " M"],
        padding_is_a_class: bool = False,
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of the queries."""
        return cross_entropy(queries, item_table, item_bias, targets, padding_is_a_class)
