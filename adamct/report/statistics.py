"""Tests of one variant against another, paired by user and seed, and corrected by Holm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from adamct.evaluation.gains import gains
from adamct.evaluation.names import Metric
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.runs import Run
from adamct.report.inputs.variants import Variant
from adamct.report.resampling import LEVEL, resample

Pairs = list[tuple[Run, Run]]
"""The runs of two variants, for each seed that both have."""


@dataclass(frozen=True)
class Comparison:
    """One variant minus another, paired by user and by the seeds that both have.

    Attributes:
        other: the name of the other variant, or of the pair.
        metric: the tested metric.
        users: the number of paired users.
        seeds: the number of seeds that both have.
        wins: the number of seeds in which the first variant has the higher mean.
        difference: the mean difference over users and seeds.
        low: the lower end of its 95 % interval.
        high: the upper end of the interval.
        p: the two-sided p-value of no difference, from the same resamples as the interval; see
            `adamct.report.resampling`.
        p_holm: the p-value, corrected for all tests of one ranking.
        cut_short: whether a limit ended one of the runs before it stopped by itself.
    """

    other: str
    metric: Metric
    users: int
    seeds: int
    wins: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    cut_short: bool

    @property
    def significant(self) -> bool:
        """Whether the two differ at 5 % after the correction."""
        return self.p_holm < LEVEL


def compare(block: Block, pairs: Mapping[str, tuple[Variant, Variant]] | None = None) -> list[Comparison]:
    """Test the first variant of each pair against the second, with one family of tests for each ranking.

    NDCG@10 is tested, and the block's metric if it is another one. A pair without a common tested seed is left out.

    Args:
        block: the block of the variants.
        pairs: the pairs by the name of their test; None pairs the compared variant with each other one.
    """
    if block.split != "test":
        return []
    if pairs is None:
        pairs = {other.name: (block.chosen, other) for other in block.others}
    names = tuple(dict.fromkeys(("ndcg@10", block.metric.name)))
    comparisons = []
    for ranking in block.rankings:
        metrics = [Metric("test", ranking, name) for name in names]
        cases = [
            (metric, name, runs)
            for metric in metrics
            for name, pair in pairs.items()
            if (runs := pair_runs(*pair, metric))
        ]
        comparisons += compare_in_ranking(ranking, cases)
    return comparisons


def pair_runs(one: Variant, other: Variant, metric: Metric) -> Pairs:
    """Pair the runs of two variants by seed, for each seed with which the metric of both is known."""
    other_runs = {run.seed: run for run in other.runs if run.can_test(metric)}
    return [(run, other_runs[run.seed]) for run in one.runs if run.can_test(metric) and run.seed in other_runs]


def compare_in_ranking(ranking: str, cases: Sequence[tuple[Metric, str, Pairs]]) -> list[Comparison]:
    """Test metrics of one ranking for some pairs, and correct the p-values for all these tests.

    Args:
        ranking: the ranking.
        cases: the metric, the name of the pair, and the paired runs of each test.
    """
    if not cases:
        return []
    runs = [run for *_, pairs in cases for pair in pairs for run in pair]
    users = np.all([run.ranks[ranking] > 0 for run in runs], axis=0)  # that have a test item
    if not users.any():
        return []
    differences = [
        np.array([np.subtract(*(gains(run.ranks[ranking][users], metric.name) for run in pair)) for pair in pairs])
        for metric, _, pairs in cases
    ]
    outcomes = resample(differences)
    return [
        Comparison(
            other=other,
            metric=metric,
            users=int(users.sum()),
            seeds=len(pairs),
            wins=int((gain_differences.mean(1) > 0).sum()),
            difference=float(gain_differences.mean()),
            low=low,
            high=high,
            p=p,
            p_holm=corrected,
            cut_short=any(run.cut_short for pair in pairs for run in pair),
        )
        for (metric, other, pairs), gain_differences, (low, high, p), corrected in zip(
            cases, differences, outcomes, holm([p for *_, p in outcomes]), strict=True
        )
    ]


def seeds_note(comparisons: Sequence[Comparison]) -> list[str]:
    """Explain the tests of one seed and of several, as far as the comparisons have them."""
    seeds = {test.seeds for test in comparisons}
    sentences = []
    if 1 in seeds:
        sentences.append(
            "With one seed: a paired randomisation test that flips the signs of users' differences (Smucker, Allan & "
            "Carterette, CIKM '07), and the interval of all means that it does not reject. It does not know how much "
            "trainings differ by chance."
        )
    if seeds - {1}:
        sentences.append(
            "With several seeds: random halves of the users and, for the chance differences between trainings, "
            "Student's t of the mean over seeds, with one degree of freedom less than there are seeds. So with two or "
            "three seeds only large differences are significant."
        )
    return sentences


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values by Holm's step-down method. Each can then be compared with the level of the whole family."""
    corrected, highest = [0.0] * len(p), 0.0
    for step, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        highest = max(highest, min(1.0, (len(p) - step) * p[index]))
        corrected[index] = highest
    return corrected


def agreement(one: Sequence[float], other: Sequence[float]) -> tuple[float, float] | None:
    """Return Kendall's tau and Spearman's rho between two scores of the same variants; None if one is constant."""
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    tau: Any = stats.kendalltau(one, other)
    rho: Any = stats.spearmanr(one, other)
    return float(tau.statistic), float(rho.statistic)
