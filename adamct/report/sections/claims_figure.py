"""The paper's comparisons as a figure: each measured difference with its interval, and the paper's beside it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adamct.evaluation.names import Metric
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.paper import METRIC, RANKING
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import COLOURS, INK, PAPER, WIDTH, style_rows, styled, wrapped
from adamct.report.sections.claims import CONTRADICTED, CUT_SHORT, HOLDS, NOT_DECIDED, Claim, rankings_of
from adamct.report.sections.comparison import written


class Mark(NamedTuple):
    """The look of a measured difference."""

    marker: str
    colour: str
    filled: bool

    @property
    def face(self) -> str:
        """The colour within its edge."""
        return self.colour if self.filled else "none"


MARKS = {
    HOLDS: Mark("o", COLOURS[0], True),
    CONTRADICTED: Mark("X", COLOURS[1], True),
    NOT_DECIDED: Mark("o", INK, False),
    CUT_SHORT: Mark("s", INK, False),
}
"""The look of each verdict. Shapes tell them apart in black and white."""
REPORTED, REPORTED_SIGN = Mark("D", PAPER, False), Mark(">", PAPER, False)
"""The look of the paper's difference, and of one whose sign alone the paper reports."""


def claims_figure(block: Block, claims: Sequence[Claim]) -> Drawing | None:
    """Draw a panel for each ranking, with a row for each claim. Return None without claims."""
    if not claims:
        return None
    rankings = rankings_of(claims)
    names = [wrapped(claim.other) for claim in claims]
    with styled():
        height = 0.14 + 0.13 * max(1 + name.count("\n") for name in names)
        figure = Figure(figsize=(WIDTH, 1.2 + height * len(claims)), layout="constrained")
        panels = figure.subplots(1, len(rankings), sharey=True, squeeze=False)[0]
        for axes, ranking in zip(panels, rankings, strict=True):
            draw_panel(axes, claims, ranking)
            axes.set_xlabel(written(Metric(block.split, ranking, METRIC)), fontsize=8)
        panels[0].set_yticks(range(len(claims)), names, fontsize=8)
        panels[0].set_ylim(len(claims) - 0.4, -0.6)
        verdicts = {claim.verdict(ranking) for claim in claims for ranking in rankings}
        handles = [legend_handle(MARKS[verdict], verdict) for verdict in MARKS if verdict in verdicts]
        signs = {claim.difference is None for claim in claims if RANKING in rankings}
        handles += [legend_handle(REPORTED, "the paper")] * (False in signs)
        handles += [legend_handle(REPORTED_SIGN, "the paper: above 0")] * (True in signs)
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), handletextpad=0.1)
    chosen = block.chosen.name
    return Drawing(
        f"{block.slug}_claims",
        f"{block.title}: {chosen} minus each of the others, here and in the paper",
        f"To the right of the line: {chosen} is better. Interval: 95 %, of the difference paired by user and seed, not "
        f"corrected; the verdicts are corrected (Holm). The paper reports {RANKING} only.",
        figure,
    )


def draw_panel(axes: Axes, claims: Sequence[Claim], ranking: str) -> None:
    """Draw a ranking's measured differences, and the paper's if it is the paper's ranking."""
    axes.axvline(0.0, color=INK, linewidth=0.8, alpha=0.6)
    for place, claim in enumerate(claims):
        if ranking == RANKING:
            draw_mark(
                axes, claim.difference or 0.0, place + 0.27, REPORTED_SIGN if claim.difference is None else REPORTED
            )
        if (test := claim.tests.get(ranking)) is not None:
            mark = MARKS[claim.verdict(ranking)]
            if np.isfinite([test.low, test.high]).all():
                axes.hlines(place, test.low, test.high, color=mark.colour, linewidth=1.4)
            draw_mark(axes, test.difference, float(place), mark)
    style_rows(axes)


def draw_mark(axes: Axes, value: float, place: float, mark: Mark) -> None:
    """Draw a mark in the row of a claim."""
    axes.plot(value, place, mark.marker, color=mark.colour, mfc=mark.face, markersize=5)


def legend_handle(mark: Mark, label: str) -> Line2D:
    """Return a mark for the legend."""
    return Line2D([], [], linestyle="", marker=mark.marker, color=mark.colour, mfc=mark.face, markersize=5, label=label)
