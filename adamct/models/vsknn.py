"""V-SKNN: nearest neighbours among the users' sessions, which need no training (Ludewig & Jannach, UMUAI 2018).

"Evaluation of Session-based Recommendation Algorithms".
"""

import numpy as np
from jaxtyping import Int
from scipy.sparse import csr_array
from torch import Tensor

from adamct.batch import Batch, DataSpec
from adamct.models.base import NextItemModel
from adamct.models.sparse import SparseCounts
from adamct.scores import SparseScores
from adamct.values import PositiveFloat, PositiveInt


class VSKNN(NextItemModel):
    """A model that recommends the items of sessions that share items with the history.

    A session s is the set of a user's training items. Let h be the set of items of the history i_1, ..., i_n, and t(i)
    the last position of item i in it. A session is as similar as the shared items are recent:

        sim(s) = sum_{i in s and h} (t(i) / n) / |h|

    The neighbours N are the k most similar sessions; of equally similar ones, those of the lower user numbers. A
    session's weight is divided by the distance of its most recent shared item from the end of the history. p(v) is the
    share of item v in training:

        score(v) = sum_{s in N, v in s} sim(s) / (n + 1 - max_{i in s and h} t(i)) + β p(v)

    The weights t(i) / n and the division by the distance are the defaults of the authors' code (``div``). It looks for
    neighbours among the most recent sessions alone, and gives no score to items without a neighbour; here all sessions
    are searched, because logs need not have times, and such items are in the order of popularity.

    The user's own training session is among the sessions, because histories may also be of people
    outside of the data. It takes one of the k places and adds to the scores of items that the user has had; it has no
    held-out item.

    Args:
        spec: the facts of the data.
        num_neighbours: k.
        backoff: β. With 1, popularity adds as much in total as one item of a session with similarity 1.
    """

    item_counts: Tensor

    def __init__(self, spec: DataSpec, num_neighbours: PositiveInt, backoff: PositiveFloat):
        super().__init__()
        self.num_neighbours = num_neighbours
        self.backoff = backoff
        self.register_buffer("item_counts", spec.item_counts.long())
        num_items = spec.num_items + 1
        pairs = np.unique(spec.training.users() * num_items + spec.training.items)
        self.sessions = SparseCounts(*np.divmod(pairs, num_items), (spec.num_users, num_items))

    def scores(self, batch: Batch) -> SparseScores:
        item_seq, seq_len = batch.item_seq.numpy(force=True), batch.seq_len.numpy(force=True)
        sessions, item_counts = self.sessions.csr(), self.item_counts.numpy(force=True)
        weights = self.neighbours(item_seq, seq_len, sessions)
        popularity = item_counts / max(item_counts.sum(), 1)
        weight = np.full(len(seq_len), self.backoff)
        return SparseScores(weights @ sessions, weight, popularity, device=batch.item_seq.device)

    def neighbours(
        self, item_seq: Int[np.ndarray, "B N"], seq_len: Int[np.ndarray, " B"], sessions: csr_array
    ) -> csr_array:
        """Return the weight of each neighbour of each history, (B, U): its similarity over its distance."""
        num_sessions, _ = self.sessions.shape
        row, item, position = last_positions(item_seq, seq_len)
        distinct = np.bincount(row, minlength=len(seq_len))
        having = csr_array(sessions.T)[item]  # the sessions that have the item of each row
        count = np.diff(having.indptr)
        row, position = np.repeat(row, count), np.repeat(position, count)
        # The last positions come first, so a pair of a row and a session first occurs with the last item of both.
        pair, first, index = np.unique(row * num_sessions + having.indices, return_index=True, return_inverse=True)
        row, session = np.divmod(pair, num_sessions)
        similarity = np.bincount(index, position, len(pair)) / (seq_len * distinct)[row]
        weight = similarity / (seq_len[row] + 1 - position[first])
        order = np.lexsort((-similarity, row))  # stable, and rows stay where they are
        place = np.arange(len(pair)) - np.searchsorted(row, np.arange(len(seq_len)))[row]
        nearest = order[place < self.num_neighbours]
        return csr_array((weight[nearest], (row[nearest], session[nearest])), (len(seq_len), num_sessions))


def last_positions(
    item_seq: Int[np.ndarray, "B N"], seq_len: Int[np.ndarray, " B"]
) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"], Int[np.ndarray, " P"]]:
    """Return the row of each distinct item of each history, the item, and its last position from 1, the last first."""
    row, column = np.nonzero(np.arange(item_seq.shape[1]) < seq_len[:, None])
    row, column = row[::-1], column[::-1]
    item = item_seq[row, column]
    _, first = np.unique(row * (item_seq.max() + 1) + item, return_index=True)
    first.sort()
    return row[first], item[first], column[first] + 1
