"""The tested metric of each variant as a dot with an interval, in each ranking."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adamct.evaluation.names import Metric
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import COLOURS, FLOOR, INK, PAPER, WIDTH, style_rows, styled, wrapped
from adamct.report.sections.comparison import in_paper, measured, sources, written
from adamct.report.sections.curves import MOST, left_out_sentence, seeds_sentence
from adamct.report.statistics import Comparison


def dots(block: Block, comparisons: Sequence[Comparison]) -> list[Drawing]:
    """Draw a panel for each ranking, with a row for each variant; empty without variants to compare."""
    best = [variant for variant in block.best_by_validation(MOST) if variant.mean(block.metric) is not None]
    if len(best) < 2:
        return []
    variants = sorted(best, key=lambda one: (one is block.chosen, one.mean(block.metric)), reverse=True)
    names = [wrapped(variant.name) for variant in variants]
    metrics = block.in_each_ranking(block.metric.name)
    with styled():
        height = 0.14 + 0.13 * max(1 + name.count("\n") for name in names)
        figure = Figure(figsize=(WIDTH, 0.9 + height * len(variants)), layout="constrained")
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            tests = {test.other: test for test in comparisons if test.metric == metric}
            draw_panel(axes, block, metric, variants, tests)
            axes.set_xlabel(written(metric), fontsize=8)
        panels[0].set_yticks(range(len(variants)), names, fontsize=8)
        panels[0].set_ylim(len(variants) - 0.4, -0.6)
        if block.chosen in variants:
            panels[0].get_yticklabels()[0].set_fontweight("bold")
    chosen = block.chosen.name
    caption = [f"Mean over seeds; small points: the seeds, if there are several. In the colour of the text: {chosen}."]
    if comparisons:
        caption.append(
            f"Interval: 95 %, of the difference from {chosen} (paired by user and seed, not corrected). "
            "It excludes the line if they differ."
        )
    if paper := sources(block):
        caption.append(f"Diamond: {paper} of the paper.")
    caption.append("Arrow: far below. The axes do not begin at 0.")
    title = f"{block.title}: {measured(block).partition(' (')[0]}"
    text = f"{' '.join(caption)} {seeds_sentence(variants)}{left_out_sentence(block)}"
    return [Drawing(f"{block.slug}_dots", title, text, figure)]


def draw_panel(
    axes: Axes, block: Block, metric: Metric, variants: Sequence[Variant], tests: dict[str, Comparison]
) -> None:
    """Draw a ranking's dots, intervals and printed values, from a bit below the compared variant's value upwards."""
    compared = block.chosen.mean(metric)
    floor = FLOOR * (compared or 0.0)
    if compared is not None:
        axes.axvline(compared, color=INK, linewidth=0.8, alpha=0.6)
    for place, variant in enumerate(variants):
        value, paper = variant.mean(metric), in_paper(block, variant, metric)
        if value is None:
            continue
        colour = INK if variant is block.chosen else COLOURS[0]
        if value < floor:
            axes.plot(floor, place, "<", color=colour, markersize=5)
        else:
            seeds = variant.values(metric)
            axes.plot(seeds, [place] * len(seeds), ".", color=colour, alpha=0.5, markersize=4)
            axes.plot(value, place, "o", color=colour, markersize=5)
            draw_interval(axes, place, value, tests.get(variant.name), floor)
        if paper is not None and paper.value is not None and paper.value >= floor:
            axes.plot(paper.value, place + 0.27, "D", mfc="none", color=PAPER, markersize=4)
        axes.annotate(f"{value:.4f}", (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=7)
    style_rows(axes)


def draw_interval(axes: Axes, place: int, value: float, test: Comparison | None, floor: float) -> None:
    """Draw the interval of the difference from the compared variant around a variant's value; nothing untested."""
    if test is None or not np.isfinite([test.low, test.high]).all():
        return
    low, high = (max(value + test.difference - end, floor) for end in (test.high, test.low))
    axes.hlines(place, low, high, color=COLOURS[0], linewidth=1.4)
