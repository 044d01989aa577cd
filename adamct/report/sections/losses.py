"""The accuracy of each model with each loss."""

from adamct.report.inputs.blocks import Block, best_by
from adamct.report.inputs.titles import model_title
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.table import Table
from adamct.report.sections.comparison import marked_cells


def losses_table(block: Block) -> Table | None:
    """Make a table with a row for each loss. Return None if no model was trained with several losses."""
    models = {model: by_loss for model, by_loss in best_variants(block).items() if len(by_loss) > 1}
    if not models:
        return None
    losses = sorted({loss for by_loss in models.values() for loss in by_loss})
    columns = {
        f"{model_title(model)} {metric.heading}": marked_cells(
            [by_loss[loss].values(metric) if loss in by_loss else [] for loss in losses]
        )
        for metric in block.in_each_ranking(block.metric.name)
        for model, by_loss in models.items()
    }
    return Table(
        name=f"{block.slug}_losses",
        title=f"{block.title}: the losses of each model",
        corner="loss",
        columns=tuple(columns),
        rows=tuple(zip(losses, zip(*columns.values(), strict=True), strict=True)),
        notes=(
            "Mean ± sample standard deviation over seeds; best of a column bold, second underlined.",
            f"If several variants of a model have one loss, the best by {block.monitor}.",
        ),
    )


def best_variants(block: Block) -> dict[str, dict[str, Variant]]:
    """Return the best variant by validation of each model and loss."""
    best = best_by(block, lambda variant: (variant.model, variant.runs[0].name_of("loss")))
    models = dict.fromkeys(variant.model for variant in block.variants)
    return {model: {loss: variant for (name, loss), variant in best.items() if name == model} for model in models}
