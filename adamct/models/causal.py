"""The base of models whose state at a position depends on no later item."""

from abc import abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adamct.batch import Batch
from adamct.models.base import VectorModel
from adamct.models.layers import select_positions


class CausalModel(VectorModel):
    """A model that predicts from the state at the last item, and can train on the states at all items in one pass.

    With ``all_positions`` an epoch is one pass over each user's history, in windows of ``max_len``. It makes the
    predictions of all prefixes at a fraction of the work. In a history longer than ``max_len``, the first positions of
    a window see fewer items.
    """

    def __init__(self, all_positions: bool):
        super().__init__()
        self.all_positions = all_positions

    @abstractmethod
    def states(self, batch: Batch) -> Float[Tensor, "B N S"]:
        """Return the state at each item, computed from that item and the earlier ones."""

    @abstractmethod
    def output(self, state: Float[Tensor, "M S"]) -> Float[Tensor, "M D"]:
        """Turn states into queries."""

    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        return self.output(select_positions(self.states(batch), batch.seq_len - 1))

    def training_pairs(self, batch: Batch) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
        if not self.all_positions:
            return super().training_pairs(batch)
        is_item = batch.item_seq != 0
        next_item = torch.cat([batch.item_seq[:, 1:], batch.item_seq.new_zeros(len(is_item), 1)], 1)
        next_item = next_item.scatter(1, batch.seq_len[:, None] - 1, batch.target[:, None])  # (B, N)
        return self.output(self.states(batch)[is_item]), next_item[is_item]
