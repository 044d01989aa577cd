"""The content of a written report."""

from dataclasses import dataclass
from pathlib import Path

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.runs import Run
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.table import Table


@dataclass(frozen=True, eq=False)
class Report:
    """A report that was written.

    Attributes:
        out: the folder it was written to.
        title: of the page.
        status: how many runs came how far, in a line.
        damages: of each file that could not be used, what is wrong with it and what to do.
        runs: every run found, of any status.
        blocks: what was compared, one a dataset; empty where nothing has finished.
        tables: all tables; the first of each dataset is its main one.
        drawings: all figures.
        files: everything written.
    """

    out: Path
    title: str
    status: str
    damages: tuple[str, ...]
    runs: tuple[Run, ...]
    blocks: tuple[Block, ...]
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]
    files: tuple[Path, ...]
