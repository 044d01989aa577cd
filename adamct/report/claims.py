"""Whether what the paper says of the compared model and the others holds, in both rankings."""

from collections.abc import Sequence

from adamct.report.blocks import Block
from adamct.report.comparison import in_paper
from adamct.report.paper import METRIC, PROTOCOL
from adamct.report.statistics import Comparison
from adamct.report.table import NONE, Table, plain
from adamct.report.variants import Variant


def claims_table(block: Block, comparisons: Sequence[Comparison]) -> Table | None:
    """The paper's differences beside those found, and whether they agree; None where the paper has none."""
    claimed = {variant.name: paper_difference(block, variant) for variant in block.others}
    tests = {(test.metric, test.other): test for test in comparisons}
    protocols = [protocol for protocol in block.protocols if f"{protocol}/{METRIC}" in block.metrics]
    rows = []
    for name, claim in claimed.items():
        found = [tests.get((f"{protocol}/{METRIC}", name)) for protocol in protocols]
        if claim is not None and any(found):
            texts = [text for test in found for text in judged(claim[0], test)]
            rows.append((name, plain([claim[1], *texts])))
    if not rows:
        return None
    seeds = min(test.seeds for test in comparisons)
    heads = [text for protocol in protocols for text in (f"here, {protocol}", f"the claim, {protocol}")]
    chosen = block.chosen.name
    said = [
        f"{METRIC} of {chosen} minus the other's. A claim holds where the difference has the paper's sign at 5 % "
        "(Wilcoxon over users, Holm), is contradicted where it has the other one, and is not decided in between.",
        "The paper ranks among 100 sampled items; its claim is put to the ranking among all items as well.",
    ]
    if seeds < 3:
        said.append(
            f"With {seeds} seed{'s' * (seeds > 1)} the tests know nothing of how much trainings differ by chance."
        )
    verdicts = [cells[2].text for _, cells in rows]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    return Table(
        f"{block.slug}_claims",
        f"{block.dataset}: the paper's comparisons ({counts})",
        f"{chosen} against",
        ("paper", *heads),
        tuple(rows),
        tuple(said),
    )


def paper_difference(block: Block, other: Variant) -> tuple[bool, str] | None:
    """Whether the paper has the compared variant above another, and by how much; None where it has nothing on it."""
    metric = f"{PROTOCOL}/{METRIC}"
    ours, theirs = in_paper(block, block.chosen, metric), in_paper(block, other, metric)
    if ours is None or ours.value is None or theirs is None:
        return None
    if theirs.value is None:
        return True, "above 0"
    return ours.value > theirs.value, f"{ours.value - theirs.value:+.4f}"


def judged(above: bool, test: Comparison | None) -> tuple[str, str]:
    """A difference and what it says of the paper's."""
    if test is None:
        return NONE, NONE
    verdict = "holds" if (test.difference > 0) == above else "contradicted"
    return f"{test.difference:+.4f}", verdict if test.significant else "not decided"
