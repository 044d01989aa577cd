"""The main table: the metrics of all variants on a dataset, and in brackets those of the paper's Table 2."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev

from adamct.evaluation.gains import KINDS
from adamct.evaluation.names import Metric, shown_metrics
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.paper import Reported, reported
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.table import NONE, Cell, Table
from adamct.report.statistics import Comparison


def comparison_table(block: Block, comparisons: Sequence[Comparison]) -> Table:
    """Make a table with a row for each variant and a column for each metric."""
    starred = {(test.metric, test.other) for test in comparisons if test.significant}
    columns = {"seeds": [Cell(str(len(variant.runs))) for variant in block.variants]}
    columns |= {metric.heading: metric_cells(block, metric, starred) for metric in shown(block)}
    labels = [variant.name for variant in block.variants]
    if improves(block):
        labels.append("improvement")
        columns["seeds"].append(Cell(""))
        for metric in shown(block):
            values = [variant.mean(metric) for variant in block.variants]
            columns[metric.heading].append(Cell(improvement(values), paper=improvement(paper_values(block, metric))))
    return Table(
        name=block.slug,
        title=f"{block.title}: {'test' if block.split == 'test' else 'validation'} metrics",
        corner="",
        columns=tuple(columns),
        rows=tuple(zip(labels, zip(*columns.values(), strict=True), strict=True)),
        notes=notes(block, bool(starred)),
        essential=tuple(metric.heading for metric in block.in_each_ranking(block.metric.name)),
        compared=block.chosen.name if block.others else "",
    )


def improves(block: Block) -> bool:
    """Return whether an improvement over the best other model has a meaning: all models' training has converged."""
    return block.compares_models and not any(run.cut_short for run in block.runs)


def shown(block: Block) -> list[Metric]:
    """List the metrics to show. The tested one follows the others of its ranking."""
    metrics = []
    for ranking in block.rankings:
        metrics += [Metric(block.split, ranking, name) for name in shown_metrics(ranking)]
        metrics += [block.metric] * (block.metric.ranking == ranking)
    return [metric for metric in dict.fromkeys(metrics) if metric in block.metrics]


def metric_cells(block: Block, metric: Metric, starred: set[tuple[Metric, str]]) -> list[Cell]:
    """Make a metric's cell of each variant, with the paper's value."""
    cells = marked_cells([variant.values(metric) for variant in block.variants])
    return [
        replace(cell, star=(metric, variant.name) in starred, paper="" if theirs is None else f"{theirs:.4f}")
        for variant, cell, theirs in zip(block.variants, cells, paper_values(block, metric), strict=True)
    ]


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


def paper_values(block: Block, metric: Metric) -> list[float | None]:
    """Return the paper's value of each variant; None if the paper has none."""
    return [None if one is None else one.value for one in (in_paper(block, one, metric) for one in block.variants)]


def in_paper(block: Block, variant: Variant, metric: Metric) -> Reported | None:
    """Return the paper's value of a variant on the test split; None if the paper has none of this variant."""
    if block.split != "test" or not variant.matches_paper:
        return None
    return reported(block.dataset, variant.model, variant.label, metric)


def sources(block: Block) -> str:
    """Name the paper's tables that have values of the block's variants; empty if none has."""
    found = [in_paper(block, variant, metric) for variant in block.variants for metric in shown(block)]
    tables = sorted({one.source.removeprefix("Table ") for one in found if one is not None and one.value is not None})
    if not tables:
        return ""
    return f"Table{'s' * (len(tables) > 1)} {' and '.join(filter(None, (', '.join(tables[:-1]), tables[-1])))}"


def improvement(values: Sequence[float | None]) -> str:
    """Return how far the first value is above the best of the others in percent, with its sign; empty without one."""
    first, *rest = values
    best = max((value for value in rest if value is not None), default=0.0)
    return f"{100 * (first / best - 1):+.1f} %" if first is not None and best else ""


def notes(block: Block, starred: bool) -> tuple[str, ...]:
    """Return the notes below the table."""
    chosen, paper = block.chosen.name, sources(block)
    sentences = [
        "Mean ± sample standard deviation over seeds" + ("; best bold, second underlined." if block.others else ".")
    ]
    if block.split == "val":
        sentences.insert(0, "No run was tested: these are validation metrics, which also chose the weights.")
    if improves(block):
        sentences.append(f"Improvement: {chosen} over the best other.")
    if paper:
        sentences.append(f"In brackets: {paper} of AdaMCT (CIKM '23).")
    if starred:
        sentences.append(f"*: differs from the marked {chosen} at 5 %, paired by user and seed (Holm).")
    return tuple(sentences)


def measured(block: Block) -> str:
    """Return the label of an axis with the block's metric: ``test NDCG@10 (uni100)``."""
    return f"{'test' if block.split == 'test' else 'validation'} {written(block.metric)}"


def written(metric: Metric) -> str:
    """Write a metric's name for readers: ``NDCG@10 (uni100)``."""
    kind, sign, k = metric.name.partition("@")
    return f"{KINDS.get(kind, kind)}{sign}{k} ({metric.ranking})"
