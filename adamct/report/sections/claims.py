"""The paper's comparisons of the models, tested in every ranking."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adamct.evaluation.names import Metric, in_order
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.paper import METRIC, RANKING
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.table import NONE, Table, plain
from adamct.report.sections.comparison import in_paper
from adamct.report.statistics import Comparison, seeds_note

HOLDS, CONTRADICTED, NOT_DECIDED, CUT_SHORT = "holds", "contradicted", "not decided", "cut short"
VERDICTS = (HOLDS, CONTRADICTED, NOT_DECIDED, CUT_SHORT)
"""The verdicts on a claim. The last one is on a comparison with a run that a limit ended."""


@dataclass(frozen=True)
class Claim:
    """A difference that the paper reports between the compared variant and another one, and its tests here.

    Attributes:
        other: the name of the other variant.
        above: whether the paper has the compared variant above it.
        difference: the paper's difference; None if the paper only has its sign.
        tests: the measured difference in each ranking.
    """

    other: str
    above: bool
    difference: float | None
    tests: Mapping[str, Comparison]

    def verdict(self, ranking: str) -> str:
        """Return the verdict on the claim in a ranking; empty if it has not been tested."""
        test = self.tests.get(ranking)
        if test is None:
            return ""
        if test.cut_short:
            return CUT_SHORT
        if not test.significant:
            return NOT_DECIDED
        return HOLDS if (test.difference > 0) == self.above else CONTRADICTED


def claims_of(block: Block, comparisons: Sequence[Comparison]) -> list[Claim]:
    """Return the paper's comparisons of a block's variants, as far as they were tested."""
    tests: dict[str, dict[str, Comparison]] = {}
    for test in comparisons:
        if test.metric.name == METRIC:
            tests.setdefault(test.other, {})[test.metric.ranking] = test
    return [
        Claim(variant.name, *difference, tests[variant.name])
        for variant in block.others
        if variant.name in tests and (difference := paper_difference(block, variant)) is not None
    ]


def paper_difference(block: Block, other: Variant) -> tuple[bool, float | None] | None:
    """Return whether the paper has the compared variant above another, and by how much; None if it lacks one of them.

    The difference is None if the paper only has its sign.
    """
    metric = Metric(block.split, RANKING, METRIC)
    ours, theirs = in_paper(block, block.chosen, metric), in_paper(block, other, metric)
    if ours is None or ours.value is None or theirs is None:
        return None
    if theirs.value is None:
        return True, None
    return ours.value > theirs.value, ours.value - theirs.value


def claims_table(block: Block, claims: Sequence[Claim]) -> Table | None:
    """Set the paper's differences beside the measured ones. Return None without claims."""
    if not claims:
        return None
    rankings = rankings_of(claims)
    heads = [text for ranking in rankings for text in (f"here, {ranking}", f"the claim, {ranking}")]
    chosen = block.chosen.name
    notes = [
        f"{METRIC} of {chosen} minus the other's, with its 95 % interval. A claim holds if the difference is "
        "significant at 5 % (Holm) with the paper's sign, is contradicted if it is so with the opposite sign, and is "
        "not decided otherwise.",
        "The paper ranks among 100 sampled items. Its claims are tested in the rankings among all items as well.",
    ]
    if any(claim.verdict(ranking) == CUT_SHORT for claim in claims for ranking in rankings):
        notes.append(
            f"A claim is judged from runs that stopped by themselves. {CUT_SHORT.capitalize()}: a limit of epochs, "
            "steps or time ended a run of this comparison, possibly before its best epoch."
        )
    return Table(
        name=f"{block.slug}_claims",
        title=f"{block.title}: the paper's comparisons in {rankings[0]} ({counts(claims, rankings[0])})",
        corner=f"{chosen} against",
        columns=("paper", *heads),
        rows=tuple((claim.other, plain(texts(claim, rankings))) for claim in claims),
        notes=(*notes, *seeds_note([test for claim in claims for test in claim.tests.values()])),
    )


def rankings_of(claims: Sequence[Claim]) -> list[str]:
    """Return the rankings in which any claim was tested, in the order of the report."""
    return in_order(ranking for claim in claims for ranking in claim.tests)


def texts(claim: Claim, rankings: Sequence[str]) -> list[str]:
    """Return the texts of a claim's row."""
    cells = ["above 0" if claim.difference is None else f"{claim.difference:+.4f}"]
    for ranking in rankings:
        test = claim.tests.get(ranking)
        measured = NONE if test is None else f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f})"
        cells += [measured, claim.verdict(ranking) or NONE]
    return cells


def counts(claims: Sequence[Claim], ranking: str) -> str:
    """Return how often each verdict is given in a ranking: ``holds: 4, not decided: 1``."""
    frequencies = Counter(claim.verdict(ranking) for claim in claims)
    return ", ".join(f"{verdict}: {frequencies[verdict]}" for verdict in VERDICTS if frequencies[verdict])


def claims_summary(claims: Mapping[str, Sequence[Claim]]) -> Table | None:
    """Count the verdicts on the claims of each block, given by its title. Return None below two blocks with claims."""
    claims = {title: block_claims for title, block_claims in claims.items() if block_claims}
    if len(claims) < 2:
        return None
    rankings = rankings_of([claim for block_claims in claims.values() for claim in block_claims])
    rows = [
        (title, plain([str(len(block_claims)), *(counts(block_claims, ranking) or NONE for ranking in rankings)]))
        for title, block_claims in claims.items()
    ]
    return Table(
        name="claims",
        title="Which of the paper's comparisons hold",
        corner="",
        columns=("comparisons", *rankings),
        rows=tuple(rows),
        notes=(f"Differences in {METRIC}, judged as in each section below. The paper ranks as {RANKING} does.",),
    )
