"""The content of a table, independent of its form: Markdown, LaTeX, HTML or text on a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

NONE = "\N{EN DASH}"
"""The text of a missing value."""
RHO = "\N{GREEK SMALL LETTER RHO}"


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: the value as text.
        spread: its standard deviation; empty if it has none.
        mark: whether it is the best or the second-best of its row.
        star: whether it differs significantly from the compared model's value.
        paper: the paper's value; empty if it has none.
    """

    text: str
    spread: str = ""
    mark: Literal["best", "second", ""] = ""
    star: bool = False
    paper: str = ""

    def __str__(self) -> str:
        return f"{self.text} ± {self.spread}" if self.spread else self.text


@dataclass(frozen=True)
class Table:
    """Labelled rows below a header.

    Attributes:
        name: its name in files and in W&B.
        title: the heading above it.
        corner: the header of the rows' labels.
        columns: the headers of the cells.
        rows: the label and the cells of each row.
        notes: sentences that explain the table.
        essential: the labels of the rows or columns that stay if there is no room for all.
        compared: the label of the row or column that the others are compared with, which is marked; empty for none.
    """

    name: str
    title: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...] = ()
    essential: tuple[str, ...] = ()
    compared: str = ""

    def transposed(self) -> "Table":
        """Return the table with its rows as columns."""
        labels = tuple(label for label, _ in self.rows)
        rows = tuple(
            (column, tuple(cells[index] for _, cells in self.rows)) for index, column in enumerate(self.columns)
        )
        return replace(self, corner="", columns=labels, rows=rows)

    def without_paper(self) -> "Table":
        """Return the table without the paper's values."""
        rows = ((label, tuple(replace(cell, paper="") for cell in cells)) for label, cells in self.rows)
        return replace(self, rows=tuple(rows))

    def essence(self) -> "Table":
        """Return a table of only the essential labels, as columns; the whole table if none is essential."""
        upright = self if set(self.essential) <= set(self.columns) else self.transposed()
        kept = [index for index, name in enumerate(upright.columns) if name in self.essential]
        if not kept:
            return self
        rows = tuple((label, tuple(cells[index] for index in kept)) for label, cells in upright.rows)
        return replace(upright, columns=tuple(upright.columns[index] for index in kept), rows=rows)


def plain(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Make cells that have only text."""
    return tuple(map(Cell, texts))
