"""The contract between a loss and the training step."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor

from adamct.batch import DataSpec
from adamct.values import Checked


class ItemLoss(Checked, ABC):
    """A loss over queries and the item table, as ``conf/loss`` chooses it.

    Args:
        spec: the facts of the dataset.
    """

    def __init__(self, spec: DataSpec):
        self.num_items = spec.num_items

    @abstractmethod
    def __call__(
        self,
        queries: Float[Tensor, "M D"],
        item_table: Float[Tensor, "V D"],
        item_bias: Float[Tensor, " V"] | None,
        targets: Int[Tensor, " M"],
        padding_is_a_class: bool = False,
    ) -> Float[Tensor, ""]:
        """Return the mean loss of the queries, each of which must score its target high.

        Args:
            queries: the user vectors.
            item_table: the item vectors; row 0 is padding.
            item_bias: the items' biases, None for no bias.
            targets: the item that each query predicts, from 1.
            padding_is_a_class: whether padding is a class of the softmax over all items.
        """
