"""The content of a report."""

from dataclasses import dataclass
from pathlib import Path

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.runs import Run
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.table import Table


@dataclass(frozen=True, eq=False)
class Report:
    """A report: its texts, the tables and figures, and the runs they come from.

    Attributes:
        out: the folder it was written to.
        title: the title of the page.
        status: the number of runs of each status, in one line.
        damages: a message for each file that could not be used: what is wrong with it, and what to do.
        runs: all runs, of any status.
        blocks: the compared runs, a block for each dataset; empty if no run has finished.
        tables: all tables; the first one of each dataset is its main table.
        drawings: all figures.
        files: the written files; empty until they are written.
    """

    out: Path
    title: str
    status: str
    damages: tuple[str, ...]
    runs: tuple[Run, ...]
    blocks: tuple[Block, ...]
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]
    files: tuple[Path, ...] = ()
