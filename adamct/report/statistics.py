"""Whether the compared model and another differ by more than chance: tests over users, paired and corrected."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from adamct.errors import require
from adamct.randomness import Stream, numpy_generator
from adamct.report.blocks import Block
from adamct.report.runs import Run
from adamct.report.variants import Variant

LEVEL = 0.05
RESAMPLES = 1999
BATCH = 50
"""Resamples drawn at a time: 10 MB of indices for 25,000 users."""


@dataclass(frozen=True)
class Comparison:
    """The compared model minus another, per user, averaged over the seeds that both have.

    Attributes:
        other: the other variant's name.
        metric: such as ``uni100/ndcg@10``.
        users: how many were paired.
        seeds: how many both have.
        wins: in how many of them the compared model has the higher mean.
        difference: mean over users.
        low: where its 95 % bootstrap interval begins.
        high: where it ends.
        p: of the Wilcoxon signed-rank test, two-sided.
        p_holm: the same, corrected for the family of tests of one ranking.
    """

    other: str
    metric: str
    users: int
    seeds: int
    wins: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def significant(self) -> bool:
        """Whether the two differ at 5 % after the correction."""
        return self.p_holm < LEVEL


def compare(block: Block) -> list[Comparison]:
    """Test a block's compared model against each other variant, a family of tests for each ranking.

    NDCG@10 is tested, and the block's metric where that is another. A variant without a tested seed in common with
    the compared one is left out.

    Raises:
        InputError: two runs ranked different numbers of users.
    """
    if block.split != "test":
        return []
    tested = dict.fromkeys(("ndcg@10", block.metric.partition("/")[2]))
    compared = []
    for protocol in block.protocols:
        pairs = [
            (f"{protocol}/{name}", other, common(block.chosen, other, protocol))
            for name in tested
            for other in block.others
        ]
        compared += family([compare_one(metric, other, seeds) for metric, other, seeds in pairs if seeds])
    return compared


def family(tests: Sequence[Comparison]) -> list[Comparison]:
    """The same tests, corrected for being several."""
    corrected = holm([test.p for test in tests])
    return [replace(test, p_holm=p) for test, p in zip(tests, corrected, strict=True)]


def common(one: Variant, other: Variant, protocol: str) -> list[tuple[Run, Run]]:
    """The two variants' runs of each seed under which both were tested."""
    of_seed = {run.seed: run for run in other.runs if protocol in run.ranks}
    return [(run, of_seed[run.seed]) for run in one.runs if protocol in run.ranks and run.seed in of_seed]


def compare_one(metric: str, other: Variant, seeds: Sequence[tuple[Run, Run]]) -> Comparison:
    """Compare two variants by the runs of their common seeds, not yet corrected."""
    protocol, _, name = metric.partition("/")
    for one, rival in seeds:
        users = [len(run.ranks[protocol]) for run in (one, rival)]
        require(
            len({*users, len(seeds[0][0].ranks[protocol])}) == 1,
            f"{one.folder} and {rival.folder} ranked {users[0]} and {users[1]} users under {protocol}: test them again",
        )
    ranks = np.array([[run.ranks[protocol] for run in pair] for pair in seeds])  # (seeds, 2, U)
    ranked = ranks[:, :, (ranks > 0).all((0, 1))]  # a rank of 0: the user was left out of the test
    differences = np.array([gains(ours, name) - gains(theirs, name) for ours, theirs in ranked])
    of_user = differences.mean(0)
    wins = int((differences.mean(1) > 0).sum())
    p = wilcoxon(of_user)
    low, high = interval(of_user)
    return Comparison(other.name, metric, len(of_user), len(seeds), wins, float(of_user.mean()), low, high, p, p)


def gains(ranks: Int[np.ndarray, " U"], name: str) -> Float[np.ndarray, " U"]:
    """Each user's share in a metric: recall@k, ndcg@k or mrr of the rank of its one relevant item."""
    if name == "mrr":
        return 1 / ranks
    kind, _, k = name.partition("@")
    gain = np.ones(len(ranks)) if kind == "recall" else 1 / np.log2(ranks + 1.0)
    return gain * (ranks <= int(k))


def wilcoxon(differences: Float[np.ndarray, " U"]) -> float:
    """P-value of the Wilcoxon signed-rank test, two-sided.

    Most users rank both models' items below the cutoff: their zeros are evidence of no difference, and "zsplit"
    keeps them, half on either side, where the default would leave them out.
    """
    found: Any = stats.wilcoxon(differences, zero_method="zsplit")
    return float(found.pvalue)


def interval(differences: Float[np.ndarray, " U"]) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean over users; the same at every call."""
    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    found = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=BATCH,
        method="percentile",
        rng=numpy_generator(0, Stream.BOOTSTRAP),
    ).confidence_interval
    return float(found.low), float(found.high)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values that may each be held against the level of the whole family."""
    corrected, highest = [0.0] * len(p), 0.0
    for step, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        highest = max(highest, min(1.0, (len(p) - step) * p[index]))
        corrected[index] = highest
    return corrected


def agreement(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Kendall's tau and Spearman's rho between two scores of the same variants."""
    tau: Any = stats.kendalltau(one, other)
    rho: Any = stats.spearmanr(one, other)
    return float(tau.statistic), float(rho.statistic)
