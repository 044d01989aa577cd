"""The paper's comparisons of the models, tested in every ranking."""

from collections.abc import Sequence

from adamct.evaluation.names import Metric
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.paper import METRIC, RANKING
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.table import NONE, Table, plain
from adamct.report.sections.comparison import in_paper
from adamct.report.statistics import Comparison, seeds_note

CUT_SHORT = "cut short"
"""The verdict on a comparison with a run that a limit ended."""


def claims_table(block: Block, comparisons: Sequence[Comparison]) -> Table | None:
    """Compare the paper's differences with the measured ones. Return None if the paper has none."""
    claimed = {variant.name: paper_difference(block, variant) for variant in block.others}
    tests = {(test.metric, test.other): test for test in comparisons}
    metrics = block.in_each_ranking(METRIC)
    rows = []
    for name, claim in claimed.items():
        metric_tests = [tests.get((metric, name)) for metric in metrics]
        if claim is not None and any(metric_tests):
            texts = [text for test in metric_tests for text in difference_and_verdict(claim[0], test)]
            rows.append((name, plain([claim[1], *texts])))
    if not rows:
        return None
    rankings = [metric.ranking for metric in metrics]
    heads = [text for ranking in rankings for text in (f"here, {ranking}", f"the claim, {ranking}")]
    chosen = block.chosen.name
    sentences = [
        f"{METRIC} of {chosen} minus the other's. A claim holds if the difference is significant at 5 % (Holm) with "
        "the paper's sign, is contradicted if it is so with the opposite sign, and is not decided otherwise.",
        "The paper ranks among 100 sampled items. Its claims are tested in the rankings among all items as well.",
    ]
    if any(CUT_SHORT in (cell.text for cell in cells) for _, cells in rows):
        sentences.append(
            f"A claim is judged from runs that stopped by themselves. {CUT_SHORT.capitalize()}: a limit of epochs, "
            "steps or time ended a run of this comparison, possibly before its best epoch."
        )
    sentences += seeds_note(comparisons)
    verdicts = [cells[2].text for _, cells in rows]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    return Table(
        name=f"{block.slug}_claims",
        title=f"{block.title}: the paper's comparisons ({counts})",
        corner=f"{chosen} against",
        columns=("paper", *heads),
        rows=tuple(rows),
        notes=tuple(sentences),
    )


def paper_difference(block: Block, other: Variant) -> tuple[bool, str] | None:
    """Return whether the compared variant is above another in the paper, and the difference as text.

    Return None if the paper lacks one of them.
    """
    metric = Metric(block.split, RANKING, METRIC)
    ours, theirs = in_paper(block, block.chosen, metric), in_paper(block, other, metric)
    if ours is None or ours.value is None or theirs is None:
        return None
    if theirs.value is None:
        return True, "above 0"
    return ours.value > theirs.value, f"{ours.value - theirs.value:+.4f}"


def difference_and_verdict(above: bool, test: Comparison | None) -> tuple[str, str]:
    """Return the measured difference and the verdict on the paper's claim, as text."""
    if test is None:
        return NONE, NONE
    if test.cut_short:
        verdict = CUT_SHORT
    elif not test.significant:
        verdict = "not decided"
    else:
        verdict = "holds" if (test.difference > 0) == above else "contradicted"
    return f"{test.difference:+.4f}", verdict
