"""The contract between a model and everything that trains and ranks it."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from adamct.batch import Batch
from adamct.values import Checked


class NextItemModel(Checked, nn.Module, ABC):
    """Turns histories into vectors; scores are ``queries @ item_table.T + item_bias``.

    A model never sees its scores: the loss and the ranking work on the vectors, so that every model shares one
    fast path for each. Row i of the item table is item i. Row 0 is padding: it is never ranked, and the loss leaves it
    out unless `padding_is_a_class`.
    """

    pad_to_max_len: bool = False
    """Whether the model needs every batch padded to ``max_len`` rather than to the batch's longest history."""

    all_positions: bool = False
    """Whether `training_pairs` predicts all items of a history, not only what follows it. Training then takes one
    history of each user (a long one in pieces of ``max_len``) in place of every prefix of it."""

    padding_is_a_class: bool = False
    """Whether the softmax of the loss has row 0 as a class, which trains that row. It is never a target."""

    uses_user_embedding: bool = False
    """Whether it learns a vector for each user, so that it has nothing for people it was not trained on."""

    @abstractmethod
    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        """Each user's vector at the moment of prediction."""

    @abstractmethod
    def item_table(self) -> Float[Tensor, "V D"]:
        """The vectors the queries are matched with."""

    def item_bias(self) -> Float[Tensor, " V"] | None:
        """Return what is added to each item's score, None for nothing."""
        return None

    def training_pairs(self, batch: Batch) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
        """Queries and the items they are to predict; models with several predictions a history override it."""
        return self.queries(batch), batch.target

    def penalty(self, batch: Batch) -> Float[Tensor, ""]:
        """Return what is added to the loss, such as a regulariser on the embeddings a batch uses."""
        return torch.zeros((), device=batch.item_seq.device)
