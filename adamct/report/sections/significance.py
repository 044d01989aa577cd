"""The table of a block's significance tests."""

from collections.abc import Sequence

from adamct.report.inputs.blocks import Block
from adamct.report.outputs.table import Cell, Table, plain
from adamct.report.resampling import RESAMPLES
from adamct.report.statistics import Comparison, seeds_note
from adamct.runs.folder import RANKS

COLUMNS = ("difference", "95 % interval", "p", "p (Holm)", "seeds won", "users")
"""The headers of `cells`."""


def significance_table(block: Block, comparisons: Sequence[Comparison]) -> Table | None:
    """Make a table of a block's tests. Return None if there is nothing to test."""
    if block.split != "test" or not block.others:
        return None
    return Table(
        name=f"{block.slug}_tests",
        title=f"{block.title}: {block.chosen.name} against each other variant",
        corner="against",
        columns=COLUMNS,
        rows=tuple((f"{test.metric.heading}: {test.other}", cells(test)) for test in comparisons),
        notes=notes(block, comparisons),
    )


def cells(test: Comparison) -> tuple[Cell, ...]:
    """Make the cells of a test's row."""
    return plain(
        [
            f"{test.difference:+.4f}",
            f"{test.low:+.4f} to {test.high:+.4f}",
            p_value(test.p),
            p_value(test.p_holm) + " *" * test.significant,
            f"{test.wins} of {test.seeds}",
            f"{test.users:,}",
        ]
    )


def notes(block: Block, comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """Return the notes below the table: the method, and the variants that could not be tested."""
    sentences = [
        f"The metric of {block.chosen.name} minus the other's, paired by user and by the seeds that both have. The "
        f"95 % interval and the two-sided p come from the same {RESAMPLES:,} resamples: p is below .05 exactly if the "
        f"interval excludes 0, and never below {1 / (RESAMPLES + 1):.4f}. Holm corrects p within each ranking. "
        "*: significant at 5 %.",
        *seeds_note(comparisons),
    ]
    tested = {test.other for test in comparisons}
    untested = [variant.name for variant in block.others if variant.name not in tested]
    if untested:
        seeds = ", ".join(str(run.seed) for run in block.chosen.runs)
        sentences.append(
            f"Not compared, because no tested seed is in common with {block.chosen.name} (seed {seeds}), or no metric: "
            f"{', '.join(untested)}."
        )
    unranked = [variant.name for variant in block.variants if any(run.tested and not run.ranks for run in variant.runs)]
    if unranked:
        sentences.append(f"Some seeds are not compared, because their {RANKS} is missing: {', '.join(unranked)}.")
    return tuple(sentences)


def p_value(p: float) -> str:
    """Write a p-value with four decimals; ``< 0.0001`` if it is smaller."""
    return f"{p:.4f}" if p >= 1e-4 else "< 0.0001"
