"""A table before it is Markdown, LaTeX, HTML or text on a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

NONE = "\N{EN DASH}"
"""In place of a value that is not there."""
RHO = "\N{GREEK SMALL LETTER RHO}"


@dataclass(frozen=True)
class Cell:
    """One value.

    Attributes:
        text: what it says.
        spread: its standard deviation, if it has one.
        mark: whether it is the best or the second of its kind.
        star: whether it differs from the compared model's by more than chance.
        aside: whether it belongs to a row that comments on the one above.
    """

    text: str
    spread: str = ""
    mark: Literal["best", "second", ""] = ""
    star: bool = False
    aside: bool = False

    def __str__(self) -> str:
        return f"{self.text} ± {self.spread}" if self.spread else self.text


@dataclass(frozen=True)
class Table:
    """Labelled rows below a header.

    Attributes:
        name: of its files and in W&B.
        title: what it shows.
        corner: the header over the labels of rows.
        columns: the header over the cells.
        rows: each a label and a cell for each column.
        notes: how to read it, a sentence each.
        essential: the labels, of rows or columns, that are left where there is no room for all.
    """

    name: str
    title: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...] = ()
    essential: tuple[str, ...] = ()

    def transposed(self) -> "Table":
        """Return the table with its rows as columns."""
        labels = tuple(label for label, _ in self.rows)
        turned = tuple(
            (column, tuple(cells[index] for _, cells in self.rows)) for index, column in enumerate(self.columns)
        )
        return replace(self, corner="", columns=labels, rows=turned)

    def without_asides(self) -> "Table":
        """Return the table without the rows and columns that only comment on others."""
        rows = [row for row in self.rows if not all(cell.aside for cell in row[1])]
        kept = [index for index in range(len(self.columns)) if not all(cells[index].aside for _, cells in rows)]
        columns = tuple(self.columns[index] for index in kept)
        return replace(
            self, columns=columns, rows=tuple((label, tuple(cells[index] for index in kept)) for label, cells in rows)
        )

    def least(self) -> "Table":
        """Return only what is essential, a column each; everything if nothing is essential."""
        upright = self if set(self.essential) <= set(self.columns) else self.transposed()
        kept = [index for index, name in enumerate(upright.columns) if name in self.essential]
        if not kept:
            return self
        rows = tuple((label, tuple(cells[index] for index in kept)) for label, cells in upright.rows)
        return replace(upright, columns=tuple(upright.columns[index] for index in kept), rows=rows)


def plain(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Make cells that hold only text."""
    return tuple(map(Cell, texts))
