"""Popularity, the simplest baseline: every user gets the most frequent items."""

from jaxtyping import Float
from torch import Tensor

from adamct.batch import Batch, DataSpec
from adamct.models.base import VectorModel


class Popularity(VectorModel):
    """Scores that are the items' counts in the training part; the model has no parameters."""

    item_counts: Tensor

    def __init__(self, spec: DataSpec):
        super().__init__()
        self.register_buffer("item_counts", spec.item_counts)

    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        return self.item_counts.new_ones(len(batch.user), 1)

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_counts.unsqueeze(1)
