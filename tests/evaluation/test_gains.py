"""The gains of a report against the metrics of a run."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adamct.evaluation.gains import gains, mean_gain
from adamct.evaluation.metrics import RankingMetrics

CUTOFFS = (1, 5, 10, 20)
RANKS = st.lists(st.one_of(st.integers(0, 30), st.integers(0, 100_000)), min_size=1, max_size=50)
"""The rank of each user; 0 for a user without a test item."""


@settings(deadline=None)
@given(RANKS)
def test_mean_gains_equal_the_metrics(ranks: list[int]) -> None:
    metric = RankingMetrics(len(ranks), CUTOFFS)
    metric.update(torch.arange(len(ranks)), torch.tensor(ranks))
    metrics = metric.compute()
    assert set(metrics) == (set(metric.names) if any(ranks) else set())
    for name in metric.names:
        mean = mean_gain(np.array(ranks), name)
        assert mean == pytest.approx(metrics.get(name, math.nan), rel=0, abs=1e-12, nan_ok=True)


@settings(deadline=None)
@given(RANKS)
def test_gains_of_users_add_up_to_their_mean(ranks: list[int]) -> None:
    has_item = np.array(ranks) > 0
    for name in ("mrr", "recall@5", "ndcg@10"):
        user_gains = gains(np.array(ranks), name)
        assert not user_gains[~has_item].any()
        total = mean_gain(np.array(ranks), name) * has_item.sum() if has_item.any() else 0.0
        assert math.fsum(user_gains) == pytest.approx(total, rel=0, abs=1e-11)
