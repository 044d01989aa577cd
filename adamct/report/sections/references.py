"""The references of the runs: the metrics of models without training, and of the best ranking where it is known."""

from statistics import mean

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.names import printable
from adamct.report.inputs.titles import model_title
from adamct.report.outputs.table import NONE, Table, plain
from adamct.report.sections.comparison import shown


def references_table(block: Block) -> Table | None:
    """Make a table with a row for each metric and a column for each reference. Return None if no run has any."""
    recorded = [run.results.get("references", {}) for run in block.runs]
    names = list(dict.fromkeys(name for references in recorded for name in references))
    if not names:
        return None
    rows = []
    for metric in shown(block):
        texts = []
        for name in names:
            scores = [references[name] for references in recorded if name in references]
            values = [score[str(metric)] for score in scores if str(metric) in score]
            texts.append(f"{mean(values):.4f}" if values else NONE)
        rows.append((metric.heading, plain(texts)))
    return Table(
        name=f"{block.slug}_references",
        title=f"{block.title}: references",
        corner="",
        columns=tuple(model_title(printable(name)) for name in names),
        rows=tuple(rows),
        notes=("Nothing is trained. Means over the runs that recorded the reference.",),
    )
