"""The gain of each user in a metric, from the rank of its one relevant item."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

KINDS = {"ndcg": "NDCG", "recall": "Recall", "mrr": "MRR"}
"""The kinds of metrics that are means over users, and how they are written."""


def is_mean_over_users(name: str) -> bool:
    """Whether a metric, such as ``ndcg@10``, is the mean of the users' gains; coverage, for one, is not."""
    return name.partition("@")[0] in KINDS


def gains(ranks: Integer[np.ndarray, "*users"], name: str) -> Float[np.ndarray, "*users"]:
    """Return each user's share in recall@k, ndcg@k or mrr; 0 for a user without a test item, whose rank is 0."""
    return gains_of_places(np.where(ranks > 0, ranks.astype(float), np.inf), name, np.log2)


def gains_of_places(place: Any, name: str, log2: Callable[[Any], Any]) -> Any:
    """Return the gain of each place in recall@k, ndcg@k or mrr.

    Args:
        place: 1 for the first place, infinity for none; floats in an array of NumPy or a tensor of torch.
        name: of the metric.
        log2: the logarithm of the array's library. NumPy's and torch's differ in the last bit.
    """
    if name == "mrr":
        return 1 / place
    kind, _, k = name.partition("@")
    hit = place <= int(k)
    return hit / log2(place + 1) if kind == "ndcg" else hit * 1.0


def mean_gain(ranks: Integer[np.ndarray, " U"], name: str) -> float:
    """Return the mean over the users that have a test item; NaN where none has."""
    counts = np.bincount(ranks)[1:]
    return float(gains(np.arange(1, len(counts) + 1), name) @ counts / counts.sum()) if counts.any() else float("nan")
