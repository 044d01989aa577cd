"""The gain of each user in a metric, from the rank of its one relevant item."""

import numpy as np
from jaxtyping import Float, Integer

KINDS = {"ndcg": "NDCG", "recall": "Recall", "mrr": "MRR"}
"""The kinds of metrics that are means over users, and how they are written."""


def is_mean_over_users(metric: str) -> bool:
    """Whether a metric, such as ``full/ndcg@10``, is the mean of the users' gains; coverage, for one, is not."""
    return metric.rpartition("/")[2].partition("@")[0] in KINDS


def gains(ranks: Integer[np.ndarray, "*users"], name: str) -> Float[np.ndarray, "*users"]:
    """Return each user's share in recall@k, ndcg@k or mrr; 0 for a user without a test item, whose rank is 0."""
    place = np.where(ranks > 0, ranks.astype(float), np.inf)
    if name == "mrr":
        return 1 / place
    kind, _, k = name.partition("@")
    gain = np.ones_like(place) if kind == "recall" else 1 / np.log2(place + 1)
    return gain * (place <= int(k))


def mean_gain(ranks: Integer[np.ndarray, " U"], name: str) -> float:
    """Return the mean over the users that have a test item; NaN where none has."""
    counts = np.bincount(ranks)[1:]
    return float(gains(np.arange(1, len(counts) + 1), name) @ counts / counts.sum()) if counts.any() else float("nan")
