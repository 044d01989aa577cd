"""The costs of each variant in training and in a query, beside the paper's."""

from collections.abc import Sequence
from statistics import median

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.paper import costs
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.table import NONE, Cell, Table, plain
from adamct.report.sections.comparison import in_paper, written

COSTS = {
    "parameters": ("parameters", 1.0, ",.0f"),
    "MFLOPs a query": ("flops_per_query", 1e-6, ",.2f"),
    "s an epoch": ("train_seconds_per_epoch", 1.0, ",.2f"),
    "s a validation": ("validation_seconds", 1.0, ",.2f"),
    "epochs": ("epochs", 1.0, ",.0f"),
    "peak MiB": ("peak_memory_mib", 1.0, ",.0f"),
}
"""The cost table's columns: the record's key, its factor and its format."""


def cost_tables(block: Block) -> list[Table]:
    """Make a table of all variants' costs, and one of those that share the commonest hidden size."""
    sizes = [variant.runs[0].config.get("model.hidden_size") for variant in block.variants]
    size = max(sizes, key=sizes.count)
    shared = [variant for variant, of_variant in zip(block.variants, sizes, strict=True) if of_variant == size]
    models = {variant.model for variant in shared}
    tables = [cost_table(block, block.variants, f"{block.slug}_cost", "cost")]
    if size is not None and len(models) > 1 and len(shared) < len(block.variants):
        tables.append(cost_table(block, shared, f"{block.slug}_cost_{size}", f"cost at hidden size {size}"))
    return tables


def cost_table(block: Block, variants: Sequence[Variant], name: str, title: str) -> Table:
    """Make a row for each variant, and below it one of the paper's costs."""
    rows, score = [], written(block.metric)
    for variant in variants:
        mean = variant.mean(block.metric)
        texts = [cost(variant, key, factor, form) for key, factor, form in COSTS.values()]
        rows.append((variant.name, plain([*texts, NONE if mean is None else f"{mean:.4f}"])))
        theirs = [paper_cost(block, variant, *quantity) for quantity in COSTS.values()]
        if any(theirs):
            paper_value = in_paper(block, variant, block.metric)
            last = "" if paper_value is None or paper_value.value is None else f"{paper_value.value:.4f}"
            rows.append(("paper", tuple(Cell(text, aside=True) for text in (*theirs, last))))
    devices = sorted({f"{run.results.get('device')}, threads: {run.results.get('threads')}" for run in block.runs})
    sentences = [
        f"Median over seeds, on {'; '.join(devices)}. A query: the longest history of a user, at most max_len items, a "
        "multiplication and an addition being two operations.",
        "Peak on a CPU: of the whole process, which jobs that ran one after another share.",
    ]
    if any(label == "paper" for label, _ in rows):
        sentences.append(
            "Paper: Tables 6, 9 and 10 of AdaMCT (CIKM '23), on an A100, of its sampled validation alone, with AdaMCT "
            "at the hidden size of its best and the others at 64."
        )
    return Table(
        name=name,
        title=f"{block.dataset}: {title}",
        corner="model",
        columns=(*COSTS, score),
        rows=tuple(rows),
        notes=tuple(sentences),
    )


def paper_cost(block: Block, variant: Variant, key: str, factor: float, form: str) -> str:
    """Write the paper's cost of a variant; empty if the paper has none, or the variant is not the paper's."""
    value = (
        costs().get((block.dataset, variant.model, key)) if variant.matches_paper and variant.label is None else None
    )
    return "" if value is None else format(value * factor, form)


def cost(variant: Variant, key: str, factor: float, form: str) -> str:
    """Write a cost's median over the seeds that have it."""
    values = [run.results["cost"][key] for run in variant.runs if run.results["cost"].get(key) is not None]
    return format(median(values) * factor, form) if values else NONE
