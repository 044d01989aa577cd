"""Ranks as they are stored, and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adamct.evaluation.storage import restored, stored

RANKS = st.lists(st.tuples(st.integers(0, 101), st.integers(0, 70_000), st.integers(0, 70_000)), min_size=1)


@given(RANKS)
def test_stored_ranks_are_restored(rows: list[tuple[int, int, int]]) -> None:
    ranks: dict[str, np.ndarray] = dict(zip(("uni100", "full", "full_unseen"), np.array(rows).T, strict=True))
    again = restored(stored(ranks))
    assert again.keys() == ranks.keys()
    assert all((again[name] == values).all() for name, values in ranks.items())


def test_arrays_have_the_smallest_types() -> None:
    ranks = {"uni100": np.array([0, 101]), "full": np.array([0, 12_000]), "full_unseen": np.array([0, 11_800])}
    types = {name: str(values.dtype) for name, values in stored(ranks).items()}
    assert types == {"uni100": "uint8", "full": "uint16", "seen_above": "uint8"}
    ranks["full_unseen"][1] = 12_128  # with other weights
    assert stored(ranks)["seen_above"].dtype == np.int8
