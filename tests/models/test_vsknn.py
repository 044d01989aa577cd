"""Session neighbours against loops over sets."""

from hypothesis import given, settings
from hypothesis import strategies as st

from adamct.models.vsknn import VSKNN
from tests.models.logs import HISTORIES, ITEMS, LOGS, batch_of, popularity, spec_of
from tests.models.oracles import agree, scores


def score_by_loops(log: list[list[int]], history: list[int], k: int, backoff: float) -> list[float]:
    n, sessions = len(history), [set(sequence) for sequence in log]
    last = {item: position for position, item in enumerate(history, 1)}

    def similarity(session: set[int]) -> float:
        return sum(last[item] / n for item in session & set(history)) / len(last)

    # Rounding must not decide between equal similarities: they are compared as fractions of n |h|.
    order = sorted(sessions, key=lambda session: -sum(last[item] for item in session & set(history)))
    score = [backoff * share for share in popularity(log)]
    for session in order[:k]:
        if shared := session & set(history):
            distance = n + 1 - max(last[item] for item in shared)
            for item in session:
                score[item] += similarity(session) / distance
    return score


@settings(deadline=None, max_examples=60)
@given(LOGS, HISTORIES, st.integers(1, 5), st.sampled_from([0.1, 1.0]))
def test_scores_are_of_the_nearest_sessions(
    log: list[list[int]], histories: list[list[int]], k: int, backoff: float
) -> None:
    expected = [score_by_loops(log, history, k, backoff) for history in histories]
    agree(scores(VSKNN(spec_of(log), k, backoff), batch_of(histories)), expected, 1e-6)


def test_an_own_session_adds_only_to_items_of_the_user() -> None:
    log = [[1, 2, 3], [4, 5]]
    model = VSKNN(spec_of(log), num_neighbours=5, backoff=1.0)
    (score,) = scores(model, batch_of([log[0]]))
    p = popularity(log)
    assert all(score[item] > p[item] + 0.1 for item in log[0])
    agree(score[4:], p[4:], 1e-6)
    assert len(score) == ITEMS + 1
