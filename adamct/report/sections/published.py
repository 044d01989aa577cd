"""The published results on a dataset beside those of the block's models."""

from adamct.evaluation.names import Metric
from adamct.report.inputs.blocks import Block, best_by
from adamct.report.inputs.published import SOURCES, Published, published
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.table import NONE, Table, plain


def published_table(block: Block) -> Table | None:
    """Make a table with a row for each published result. Return None if none is of a model of the block."""
    results, best = published(block.dataset), best_by(block, lambda variant: variant.model)
    ours = {result: best.get(result.model) for result in results}
    if block.split != "test" or not any(ours.values()):
        return None
    rows = []
    for result, variant in ours.items():
        cells = [f"{result.recall:.4f}", f"{result.ndcg:.4f}", *own_cells(result, variant), result.seen, result.source]
        rows.append((result.result, plain(cells)))
    names = list(dict.fromkeys(result.source for result in results))
    return Table(
        name=f"{block.slug}_published",
        title=f"{block.title}: published results among all items",
        corner="",
        columns=("Recall@10", "NDCG@10", "our Recall@10", "our NDCG@10", "seen items", "source"),
        rows=tuple(rows),
        notes=(
            "Ours: the mean over seeds in the ranking that treats seen items in the same way, or leaves them out if it "
            f"is not stated. If a model has several variants, the best by {block.monitor}; its loss may be another.",
            *(f"{name}: {SOURCES[name]}." for name in names),
        ),
    )


def own_cells(result: Published, variant: Variant | None) -> list[str]:
    """Return our Recall@10 and NDCG@10 in the ranking of a published result."""
    metrics = [Metric("test", result.ranking, name) for name in ("recall@10", "ndcg@10")]
    values = [None if variant is None else variant.mean(metric) for metric in metrics]
    return [NONE if value is None else f"{value:.4f}" for value in values]
