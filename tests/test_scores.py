"""Blocks of scores against whole rows, and the ranks that they give."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from adamct.batch import Candidates, Seen
from adamct.evaluation.ranking import BYTES_AT_ONCE, rank_targets, ranks, top_items
from adamct.scores import SparseScores

USERS, ITEMS = 9, 70


def sparse_scores(seed: int, levels: int) -> SparseScores:
    """Draw scores that are mostly the shared ones. With few levels, they tie often."""
    rng = np.random.default_rng(seed)
    dense = rng.integers(0, levels + 1, (USERS, ITEMS + 1)) / levels * (rng.random((USERS, ITEMS + 1)) < 0.2)
    weight, shared = (rng.integers(1, levels + 1, count) / levels for count in (USERS, ITEMS + 1))
    return SparseScores(csr_array(dense), weight, shared, torch.device("cpu"))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 1000]))
def test_sparse_scores_rank_by_blocks_as_whole_rows(seed: int, levels: int) -> None:
    scores, generator = sparse_scores(seed, levels), torch.Generator().manual_seed(seed)
    target, *negatives = torch.randint(1, ITEMS + 1, (4, USERS), generator=generator)
    seen = Seen(torch.tensor([], dtype=torch.long), torch.tensor([], dtype=torch.long), torch.zeros(USERS + 1).long())
    candidates, whole = Candidates(torch.stack(negatives, 1), seen), scores.block(0, ITEMS + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BYTES_AT_ONCE, "cpu", 4 * 64)  # 2 users and at most 32 items
        actual = rank_targets(scores, target, candidates)
        _, highest = top_items(scores, 10, None)
    assert [rank.tolist() for rank in actual] == [rank.tolist() for rank in ranks(whole, target, candidates)]
    assert highest.equal(whole[:, 1:].topk(10).values)


def test_sparse_scores_are_the_sum_of_both_parts() -> None:
    sparse, weight, shared = (
        np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 0.5]]),
        np.array([1.0, 4.0]),
        np.array([0.0, 0.25, 8]),
    )
    scores = SparseScores(csr_array(sparse), weight, shared, torch.device("cpu"))
    assert scores.block(0, 3).tolist() == [[0, 2.25, 8], [0, 1, 32.5]]
    assert scores.rows(1, 2).block(1, 3).tolist() == [[1, 32.5]]
    assert scores.for_targets(torch.tensor([1, 2]), 3).tolist() == [2.25, 32.5]
