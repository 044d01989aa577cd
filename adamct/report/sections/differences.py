"""The differences of the compared variant from each other one, as points with intervals."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adamct.report.inputs.blocks import Block
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import COLOURS, INK, WIDTH, styled
from adamct.report.sections.comparison import written
from adamct.report.statistics import Comparison

MOST = 26
"""The most variants in the figure, with the compared one."""


def differences(block: Block, comparisons: Sequence[Comparison]) -> Drawing | None:
    """Draw the tests of the block's metric, a panel for each ranking. Return None without tests."""
    drawn = {variant.name for variant in block.best_by_validation(MOST)}
    tests = [test for test in comparisons if test.metric.name == block.metric.name and test.other in drawn]
    if not tests:
        return None
    rankings = [name for name in block.rankings if any(test.metric.ranking == name for test in tests)]
    first = block.metric.ranking if block.metric.ranking in rankings else rankings[0]
    order = sorted((test for test in tests if test.metric.ranking == first), key=lambda test: test.difference)
    names = list(dict.fromkeys([*(test.other for test in order), *(test.other for test in tests)]))
    with styled():
        figure = Figure(figsize=(WIDTH, 0.8 + 0.22 * len(names)))
        panels = figure.subplots(1, len(rankings), sharey=True, squeeze=False)[0]
        for axes, ranking in zip(panels, rankings, strict=True):
            panel(axes, names, [test for test in tests if test.metric.ranking == ranking])
            axes.set_title(written(block.metric._replace(ranking=ranking)), fontsize=9)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].invert_yaxis()
        panels[0].set_xlabel(f"{block.chosen.name} minus the other", loc="left")
    left_out = f" The {len(names)} best others by validation." if len(block.others) > len(drawn) - 1 else ""
    caption = (
        f"{block.chosen.name} is ahead of the variants on the right of 0. Line: 95 % interval. Filled: significant at "
        f"5 % (Holm). Sorted by {first}.{left_out}"
    )
    title = f"{block.title}: {block.chosen.name} against each other variant, as a figure"
    return Drawing(f"{block.slug}_differences", title, caption, figure)


def panel(axes: Axes, names: Sequence[str], tests: Sequence[Comparison]) -> None:
    """Draw the tests of one ranking."""
    axes.axvline(0, color=INK, linewidth=0.8)
    for test in tests:
        place = names.index(test.other)
        colour = COLOURS[0] if test.difference > 0 else COLOURS[1]
        axes.hlines(place, test.low, test.high, color=colour, linewidth=1.4)
        axes.plot(test.difference, place, "o", color=colour, mfc=colour if test.significant else "white", markersize=5)
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(axis="x", labelsize=7)
