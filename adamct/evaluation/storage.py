"""The ranks of all users as ``ranks.npz`` stores them, in few bytes."""

from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Integer

from adamct.evaluation.names import FULL, FULL_UNSEEN

SEEN_ABOVE = "seen_above"
"""The array in place of the ranks among unseen items: the number of the user's seen items that rank above the target.

It is negative only if other weights tested the ranking among all items.
"""

FINGERPRINT = "test_items"
"""The array of ``facts.npz`` that tells whose facts they are; see `adamct.identity.fingerprint_of_test_items`."""

Arrays = dict[str, np.ndarray]


def stored(ranks: Mapping[str, Integer[np.ndarray, " U"]]) -> Arrays:
    """Return the arrays to store for the ranks in each ranking; 0 stays 0 for a user without a test item."""
    arrays = {name: values.astype(np.int64) for name, values in ranks.items()}
    if FULL in arrays and FULL_UNSEEN in arrays:
        arrays[SEEN_ABOVE] = arrays[FULL] - arrays.pop(FULL_UNSEEN)
    return {name: smallest(values) for name, values in arrays.items()}


def restored(arrays: Mapping[str, Integer[np.ndarray, " U"]]) -> Arrays:
    """Return the ranks in each ranking from the stored arrays."""
    ranks = dict(arrays)
    if SEEN_ABOVE in ranks:
        ranks[FULL_UNSEEN] = ranks[FULL].astype(np.int64) - ranks.pop(SEEN_ABOVE)
    return ranks


def stored_names(rankings: Collection[str]) -> set[str]:
    """Return the names of the arrays that store some rankings."""
    return {SEEN_ABOVE if name == FULL_UNSEEN and FULL in rankings else name for name in rankings}


def smallest(values: Integer[np.ndarray, " U"]) -> Integer[np.ndarray, " U"]:
    """Return the values in the smallest type of integers that holds them."""
    low, high = int(values.min()), int(values.max())
    return values.astype(np.min_scalar_type(high if low >= 0 else min(low, -1 - high)))
