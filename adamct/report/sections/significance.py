"""The table of the tests of a block."""

from collections.abc import Sequence

from adamct.report.inputs.blocks import Block
from adamct.report.outputs.table import Table, plain
from adamct.report.resampling import RESAMPLES
from adamct.report.statistics import Comparison, seeds_note
from adamct.runs.folder import RANKS


def significance_table(block: Block, comparisons: Sequence[Comparison]) -> Table | None:
    """Make a table of a block's tests; None if there was nothing to test."""
    if block.split != "test" or not block.others:
        return None
    rows = [
        (
            f"{test.metric.heading}: {test.other}",
            plain(
                [
                    f"{test.difference:+.4f}",
                    f"{test.low:+.4f} to {test.high:+.4f}",
                    p_value(test.p),
                    p_value(test.p_holm) + " *" * test.significant,
                    f"{test.wins} of {test.seeds}",
                    f"{test.users:,}",
                ]
            ),
        )
        for test in comparisons
    ]
    sentences = [
        f"The metric of {block.chosen.name} minus the other's, paired by user and by the seeds both have. The "
        f"interval (95 %) and p (two-sided) come from the same {RESAMPLES:,} resamples: p is below .05 exactly where "
        f"the interval excludes 0, and never below {1 / (RESAMPLES + 1):.4f}. Holm corrects p within each "
        "ranking. * at 5 %.",
        *seeds_note(comparisons),
    ]
    missing = [variant.name for variant in block.others if variant.name not in {test.other for test in comparisons}]
    if missing:
        sentences.append(f"No tested seed in common, so not compared: {', '.join(missing)}.")
    unranked = [variant.name for variant in block.variants if any(run.tested and not run.ranks for run in variant.runs)]
    if unranked:
        sentences.append(f"Their {RANKS} is not there, so these seeds are not compared: {', '.join(unranked)}.")
    columns = ("difference", "95 % interval", "p", "p (Holm)", "seeds won", "users")
    return Table(
        name=f"{block.slug}_tests",
        title=f"{block.dataset}: {block.chosen.name} against each other",
        corner="against",
        columns=columns,
        rows=tuple(rows),
        notes=tuple(sentences),
    )


def p_value(p: float) -> str:
    """Write a p-value to four places; ``< 0.0001`` if it is smaller."""
    return f"{p:.4f}" if p >= 1e-4 else "< 0.0001"
