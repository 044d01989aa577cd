"""The main table: the metrics of all variants on a dataset, in the layout of the paper's Table 2."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev

from adamct.evaluation.gains import KINDS
from adamct.evaluation.names import Metric, shown_metrics
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.paper import Reported, reported
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.table import NONE, Cell, Table, plain
from adamct.report.statistics import Comparison

MANY = 12
"""The most variants that are columns; more are rows."""


def comparison_table(block: Block, comparisons: Sequence[Comparison]) -> Table:
    """Make a table with a row for each metric, the paper's rows below it, and a column for each variant."""
    starred = {(test.metric, test.other) for test in comparisons if test.significant}
    seeds = [str(len(variant.runs)) for variant in block.variants] + [""] * bool(block.others)
    rows = [("seeds", plain(seeds))]
    for metric in shown(block):
        rows.append((metric.heading, metric_cells(block, metric, starred)))
        rows += paper_rows(block, metric)
    columns = [variant.name for variant in block.variants] + ["improvement"] * bool(block.others)
    title = f"{block.title}: {'test' if block.split == 'test' else 'validation'} metrics"
    with_paper = len(rows) > 1 + len(shown(block))
    name = block.metric.name
    essential = tuple(metric.heading for metric in block.in_each_ranking(name))
    sentences = notes(block, with_paper, bool(starred))
    table = Table(
        name=block.slug,
        title=title,
        corner="",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=sentences,
        essential=essential,
    )
    return table.transposed() if len(block.variants) > MANY else table


def shown(block: Block) -> list[Metric]:
    """List the metrics to show. The tested one follows the others of its ranking."""
    metrics = []
    for ranking in block.rankings:
        metrics += [Metric(block.split, ranking, name) for name in shown_metrics(ranking)]
        metrics += [block.metric] * (block.metric.ranking == ranking)
    return [metric for metric in dict.fromkeys(metrics) if metric in block.metrics]


def metric_cells(block: Block, metric: Metric, starred: set[tuple[Metric, str]]) -> tuple[Cell, ...]:
    """Make a metric's cells: one for each variant, and the compared variant's improvement over the best other."""
    cells = marked_cells([variant.values(metric) for variant in block.variants])
    starred_cells = (
        replace(cell, star=(metric, variant.name) in starred)
        for variant, cell in zip(block.variants, cells, strict=True)
    )
    means = [variant.mean(metric) for variant in block.variants]
    return (*starred_cells, Cell(improvement(means))) if block.others else tuple(starred_cells)


def marked_cells(values: Sequence[Sequence[float]]) -> list[Cell]:
    """Make a cell of each variant's mean and spread over seeds. The best and the second of several are marked.

    Args:
        values: the values of each variant's seeds; empty if it has none.
    """
    means = [mean(seeds) if seeds else None for seeds in values]
    ordered = sorted({value for value in means if value is not None}, reverse=True)
    marks = dict(zip(ordered[:2], ("best", "second"), strict=False)) if len(values) > 1 else {}
    cells = []
    for seeds, value in zip(values, means, strict=True):
        if value is None:
            cells.append(Cell(NONE))
        else:
            spread = f"{stdev(seeds):.4f}" if len(seeds) > 1 else ""
            cells.append(Cell(f"{value:.4f}", spread, marks.get(value, "")))
    return cells


def paper_rows(block: Block, metric: Metric) -> list[tuple[str, tuple[Cell, ...]]]:
    """List a row of the paper's values of a metric and a row of the differences from them; empty without values."""
    paper_values = [in_paper(block, variant, metric) for variant in block.variants]
    values = [None if one is None else one.value for one in paper_values]
    if all(value is None for value in values):
        return []
    differences = [percent(variant.mean(metric), value) for variant, value in zip(block.variants, values, strict=True)]
    paper = ["" if value is None else f"{value:.4f}" for value in values]
    if block.others:
        paper.append(improvement(values))
        differences.append("")
    return [
        (label, tuple(Cell(text, aside=True) for text in texts))
        for label, texts in (("paper", paper), ("difference", differences))
    ]


def in_paper(block: Block, variant: Variant, metric: Metric) -> Reported | None:
    """Return the paper's value of a variant on the test split; None if the paper has none of this variant."""
    if block.split != "test" or not variant.matches_paper:
        return None
    return reported(block.dataset, variant.model, variant.label, metric)


def sources(block: Block) -> str:
    """Name the paper's tables that have values of the block's variants."""
    paper_values = [in_paper(block, variant, metric) for variant in block.variants for metric in shown(block)]
    tables = sorted(
        {one.source.removeprefix("Table ") for one in paper_values if one is not None and one.value is not None}
    )
    return f"Table{'s' * (len(tables) > 1)} {' and '.join(filter(None, (', '.join(tables[:-1]), tables[-1])))}"


def improvement(values: Sequence[float | None]) -> str:
    """Return how far the last value is above the best of the others."""
    others = [value for value in values[:-1] if value is not None]
    return percent(values[-1], max(others)) if others else ""


def percent(value: float | None, base: float | None) -> str:
    """Write how far a value is above a base in percent, with its sign; empty if either is missing."""
    return "" if value is None or not base else f"{100 * (value / base - 1):+.1f} %"


def notes(block: Block, with_paper: bool, starred: bool) -> tuple[str, ...]:
    """Return the notes below the table."""
    sentences = [
        "Mean ± sample standard deviation over seeds" + ("; best bold, second underlined." if block.others else ".")
    ]
    if block.split == "val":
        sentences.insert(0, "No run was tested: these are validation metrics, which also chose the weights.")
    if block.others:
        sentences.append(f"Improvement: {block.chosen.name} over the best other.")
    if with_paper:
        sentences.append(f"Paper: {sources(block)} of AdaMCT (CIKM '23). Difference: from the paper's value.")
    if starred:
        sentences.append(f"*: differs from {block.chosen.name} at 5 %, paired by user and seed (Holm).")
    limited = [variant.name for variant in block.variants if any(run.cut_short for run in variant.runs)]
    if limited:
        sentences.append(
            f"A limit of epochs, steps or time ended training before it stopped by itself: {', '.join(limited)}."
        )
    return tuple(sentences)


def measured(block: Block) -> str:
    """Return the label of an axis with the block's metric: ``test NDCG@10 (uni100)``."""
    return f"{'test' if block.split == 'test' else 'validation'} {written(block.metric)}"


def written(metric: Metric) -> str:
    """Write a metric's name for readers: ``NDCG@10 (uni100)``."""
    kind, sign, k = metric.name.partition("@")
    return f"{KINDS.get(kind, kind)}{sign}{k} ({metric.ranking})"
