"""A Markov chain of items, which needs no training."""

import numpy as np
from scipy.sparse import csr_array
from torch import Tensor

from adamct.batch import Batch, DataSpec
from adamct.models.base import NextItemModel
from adamct.models.sparse import SparseCounts
from adamct.scores import SparseScores
from adamct.values import PositiveFloat, PositiveInt, Probability


class Markov(NextItemModel):
    """A first-order Markov chain that backs off to popularity.

    In the training part, item v directly follows item i c(i, v) times, c(i) = sum_v c(i, v), and p(v) is the share of
    item v. An item with few transitions, or none, backs off to popularity:

        P(v | i) = (c(i, v) + β p(v)) / (c(i) + β)

    The score of item v after the history i_1, ..., i_n is the mean of the chain over the last L items:

        sum_l γ^l P(v | i_{n-l}) / sum_l γ^l,  l = 0, ..., min(L, n) - 1

    Args:
        spec: the facts of the data.
        num_recent: L.
        decay: γ.
        backoff: β, the transitions that popularity counts for.
    """

    item_counts: Tensor

    def __init__(self, spec: DataSpec, num_recent: PositiveInt, decay: Probability, backoff: PositiveFloat):
        super().__init__()
        self.num_recent = num_recent
        self.decay = decay
        self.backoff = backoff
        self.register_buffer("item_counts", spec.item_counts.long())
        items, users = spec.training.items, spec.training.users()
        follows = users[1:] == users[:-1]
        shape = (spec.num_items + 1, spec.num_items + 1)
        self.transitions = SparseCounts(items[:-1][follows], items[1:][follows], shape)

    def scores(self, batch: Batch) -> SparseScores:
        item_seq, seq_len = batch.item_seq.numpy(force=True), batch.seq_len.numpy(force=True)
        transitions, item_counts = self.transitions.csr(), self.item_counts.numpy(force=True)
        back = np.arange(self.num_recent)
        position = seq_len[:, None] - 1 - back  # (B, L)
        recent = np.take_along_axis(item_seq, position.clip(0), 1)
        weight = np.where(position >= 0, self.decay**back, 0.0)
        weight /= weight.sum(1, keepdims=True)
        weight /= transitions.sum(1)[recent] + self.backoff
        bounds = np.arange(len(recent) + 1) * self.num_recent
        weights = csr_array((weight.ravel(), recent.ravel(), bounds), (len(recent), len(item_counts)))
        popularity = item_counts / max(item_counts.sum(), 1)
        return SparseScores(
            weights @ transitions, self.backoff * weight.sum(1), popularity, device=batch.item_seq.device
        )
