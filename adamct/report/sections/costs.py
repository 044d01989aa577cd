"""The cost of each variant in training and for a query, beside the paper's."""

from collections.abc import Sequence
from statistics import median

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.paper import costs
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.table import NONE, Cell, Table
from adamct.report.sections.comparison import written

STUDY = "table6"
"""The study of costs alone, which judges no accuracy."""
COSTS = {
    "parameters": ("parameters", 1.0, ",.0f"),
    "MFLOPs a query": ("flops_per_query", 1e-6, ",.2f"),
    "s an epoch": ("train_seconds_per_epoch", 1.0, ",.2f"),
    "s a validation": ("validation_seconds", 1.0, ",.2f"),
    "epochs": ("epochs", 1.0, ",.0f"),
    "peak GPU MiB": ("peak_gpu_memory_mib", 1.0, ",.0f"),
}
"""The columns of the cost table: the record's key, a factor and a format."""


def cost_tables(block: Block) -> list[Table]:
    """Make a table of the costs of all variants that have any, and one of those with the most common hidden size."""
    variants = [variant for variant in block.variants if any(run.results["cost"] for run in variant.runs)]
    if not variants:
        return []
    sizes = [variant.runs[0].config.get("model.hidden_size") for variant in variants]
    size = max(sizes, key=sizes.count)
    shared = [variant for variant in variants if variant.runs[0].config.get("model.hidden_size") == size]
    models = {variant.model for variant in shared}
    tables = [cost_table(block, variants, f"{block.slug}_cost", "cost")]
    if size is not None and len(models) > 1 and len(shared) < len(variants):
        tables.append(cost_table(block, shared, f"{block.slug}_cost_{size}", f"cost at hidden size {size}"))
    return tables


def cost_table(block: Block, variants: Sequence[Variant], name: str, title: str) -> Table:
    """Make a table with a row for each variant and a column for each cost that any has, the paper's in brackets."""
    columns = {
        head: [Cell(cost(variant, *quantity), paper=paper_cost(block, variant, *quantity)) for variant in variants]
        for head, quantity in COSTS.items()
    }
    columns = {head: cells for head, cells in columns.items() if any(cell.text != NONE for cell in cells)}
    if block.study != STUDY:
        metric = block.metric
        columns[written(metric)] = [
            Cell(NONE if (mean := variant.mean(metric)) is None else f"{mean:.4f}") for variant in variants
        ]
    runs = [run for variant in variants for run in variant.runs]
    devices = sorted({f"{run.results.get('device')}, threads: {run.results.get('threads')}" for run in runs})
    sentences = [
        f"Median over seeds, on {'; '.join(devices)}. A query has the longest history of a user, at most max_len "
        "items. A multiplication and an addition count as two operations.",
    ]
    if any(cell.paper for cells in columns.values() for cell in cells):
        sentences.append(
            "In brackets: Tables 6, 9 and 10 of AdaMCT (CIKM '23), on an A100. Its validation ranks among sampled "
            "items only. AdaMCT has its best hidden size, the other models have 64."
        )
    return Table(
        name=name,
        title=f"{block.title}: {title}",
        corner="model",
        columns=tuple(columns),
        rows=tuple(
            (variant.name, tuple(cells[place] for cells in columns.values())) for place, variant in enumerate(variants)
        ),
        notes=tuple(sentences),
        compared=block.chosen.name if block.others else "",
    )


def paper_cost(block: Block, variant: Variant, key: str, factor: float, form: str) -> str:
    """Return the paper's cost of a variant as text; empty if the paper has none, or the variant is not the paper's."""
    if not variant.matches_paper or variant.label is not None:
        return ""
    value = costs().get((block.dataset, variant.model, key))
    return "" if value is None else format(value * factor, form)


def cost(variant: Variant, key: str, factor: float, form: str) -> str:
    """Return a cost's median over the seeds that have it, as text."""
    values = [run.results["cost"][key] for run in variant.runs if run.results["cost"].get(key) is not None]
    return format(median(values) * factor, form) if values else NONE
