"""The style of figures. Their ink can be recoloured by a page, and they are readable in black and white."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from textwrap import wrap
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

INK = "#1f2328"
"""The colour of axes, text and the compared model. The page replaces it by its own text colour."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#3f9fd8", "#7a5195")
PAPER = "#b0508a"
"""The colour of the paper's values."""
DASHES = ("--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKERS = "os^DvPX<>"
WIDTH = 7.0
"""The width of a figure in inches."""
FLOOR = 0.7
"""The lowest drawn value, as a share of the compared variant's. Differences above it stay visible."""

RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "adamct",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,  # so that a name may have a dollar sign
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "grid.color": INK,
    "hatch.color": INK,
    "hatch.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "savefig.dpi": 160,
}


class Line(NamedTuple):
    """The style of a variant's line."""

    color: str
    linestyle: str | tuple[int, tuple[int, ...]]
    marker: str
    linewidth: float


def wrapped(name: str) -> str:
    """Return a long name on several lines."""
    return "\n".join(wrap(name, 30)) or name


COMPARED = Line(INK, "-", "*", 2.0)


def lines() -> Iterator[Line]:
    """Yield styles for the other variants without end. The cycles differ in length, so a style repeats after 315."""
    for color, dash, marker in zip(cycle(COLOURS), cycle(DASHES), cycle(MARKERS), strict=False):
        yield Line(color, dash, marker, 1.2)


def style_rows(axes: Axes) -> None:
    """Style the axes of a figure whose rows have marks."""
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.08)


@contextmanager
def styled() -> Iterator[None]:
    """Apply the style to figures that are made within the block."""
    with mpl.rc_context(RC):
        yield
