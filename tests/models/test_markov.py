"""Markov chains against dicts of counts."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamct.models.markov import Markov
from tests.models.logs import HISTORIES, ITEMS, LOGS, batch_of, popularity, spec_of
from tests.models.oracles import agree, scores


@settings(deadline=None, max_examples=60)
@given(LOGS, HISTORIES, st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.1, 1.0, 7.0]))
def test_scores_are_the_mean_of_smoothed_transitions(
    log: list[list[int]], histories: list[list[int]], num_recent: int, decay: float, backoff: float
) -> None:
    follows = Counter(pair for sequence in log for pair in pairwise(sequence))
    p = popularity(log)

    def probability(v: int, i: int) -> float:
        return (follows[i, v] + backoff * p[v]) / (sum(follows[i, u] for u in range(ITEMS + 1)) + backoff)

    def score(history: list[int], v: int) -> float:
        recent = list(enumerate(history[::-1][:num_recent]))
        return sum(decay**l * probability(v, i) for l, i in recent) / sum(decay**l for l, _ in recent)  # noqa: E741

    model = Markov(spec_of(log), num_recent, decay, backoff)
    expected = [[score(history, v) for v in range(ITEMS + 1)] for history in histories]
    agree(scores(model, batch_of(histories)), expected, 1e-6)


def test_an_item_without_transitions_backs_off_to_popularity() -> None:
    log = [[1, 2], [1, 2, 2], [3]]
    model = Markov(spec_of(log), num_recent=1, decay=0.5, backoff=1.0)
    agree(scores(model, batch_of([[3]])), [popularity(log)], 1e-6)


@pytest.mark.parametrize("num_recent", [1, 3])
def test_scores_are_a_distribution(num_recent: int) -> None:
    model = Markov(spec_of([[1, 2, 3, 1], [2, 3]]), num_recent, decay=0.5, backoff=1.0)
    agree(scores(model, batch_of([[1], [4, 2, 3]])).sum(1), [1, 1], 1e-6)
