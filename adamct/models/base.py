"""The contract between a model and the code that trains and ranks it."""

from abc import ABC, abstractmethod
from itertools import chain

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from adamct.batch import Batch, BatchNeeds
from adamct.scores import Scores, VectorScores
from adamct.values import Checked


class NextItemModel(Checked, nn.Module, ABC):
    """A model that scores the items that may come next in histories.

    A ranking reads only its scores. Models that are trained are a `VectorModel`.
    """

    pad_to_max_len: bool = False
    """Whether every batch must be padded to ``max_len`` instead of to its longest history."""

    all_positions: bool = False
    """Whether `VectorModel.training_pairs` predicts all items of a history, not only the next one. Training then takes
    one history of each user (a long one in pieces of ``max_len``) instead of every prefix of it."""

    uses_user_embedding: bool = False
    """Whether the model learns a vector for each user, and so cannot rank for users it was not trained on."""

    uses_times: bool = False
    """Whether the model reads the times of histories, if the data has times."""

    def batch_needs(self, width_multiple: int = 1) -> BatchNeeds:
        """Return the batches that the model needs.

        Args:
            width_multiple: the number that the width of a training batch is a multiple of.
        """
        return BatchNeeds(self.pad_to_max_len, self.all_positions, width_multiple, self.uses_times)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(chain(self.parameters(), self.buffers())).device

    @abstractmethod
    def scores(self, batch: Batch) -> Scores:
        """Return each user's scores at the moment of prediction."""


class VectorModel(NextItemModel):
    """A model that turns histories into vectors; scores are ``queries @ item_table.T + item_bias``.

    A model never sees its scores. The loss and the ranking work on the vectors, so that all models share one fast loss
    and one fast ranking. Row i of the item table is item i. Row 0 is padding: it is never ranked, and the loss leaves
    it out unless `padding_is_a_class`.
    """

    padding_is_a_class: bool = False
    """Whether row 0 is a class of the loss's softmax, which trains that row. It is never a target."""

    @abstractmethod
    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        """Return each user's vector at the moment of prediction."""

    @abstractmethod
    def item_table(self) -> Float[Tensor, "V D"]:
        """Return the item vectors that the queries are multiplied with."""

    def item_bias(self) -> Float[Tensor, " V"] | None:
        """Return the bias that is added to each item's score, None for no bias."""
        return None

    def scores(self, batch: Batch) -> VectorScores:
        """Return each user's scores, which are computed in at least single precision."""
        queries = self.queries(batch)
        with torch.autocast(queries.device.type, enabled=False):
            return VectorScores(queries, self.item_table(), self.item_bias())

    def training_pairs(self, batch: Batch) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
        """Return training queries and their targets. Models with several predictions for a history override this."""
        return self.queries(batch), batch.target

    def penalty(self, batch: Batch) -> Float[Tensor, ""]:
        """Return a term that is added to the loss, such as a regulariser."""
        return torch.zeros((), device=batch.item_seq.device)
