"""The learning curves of each variant."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import COLOURS, FLOOR, INK, WIDTH, styled, wrapped
from adamct.report.sections.comparison import written

MOST = 15
"""The most variants in a figure."""
ACROSS = 4
"""The number of panels in a row."""


def curves(block: Block) -> list[Drawing]:
    """Draw a panel for each other variant, with the compared one in each; empty if none has two validated epochs."""
    histories = {variant: history(variant, str(block.monitor)) for variant in block.best_by_validation(MOST)}
    trained = {variant: runs for variant, runs in histories.items() if np.isfinite(runs).all(0).sum() > 1}
    if not trained:
        return []
    compared = trained.get(block.chosen)
    others = [variant for variant in trained if variant is not block.chosen]
    panels = others or [block.chosen]
    across, down = min(ACROSS, len(panels)), ceil(len(panels) / ACROSS)
    with styled():
        figure = Figure(figsize=(WIDTH, 0.5 + (3.0 if across == 1 else 1.7) * down), layout="constrained")
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, variant in zip(grid, panels, strict=False):
            if compared is not None:
                draw_curve(axes, compared, INK)
            if variant is not block.chosen:
                draw_curve(axes, trained[variant], COLOURS[0])
            axes.set_title(wrapped(variant.name), fontsize=8)
        for axes in grid[len(panels) :]:
            axes.remove()
        grid[0].set_ylim(*limits([*trained.values()], compared))
        grid[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
        figure.supxlabel("epoch", fontsize=9)
        figure.supylabel(f"validation {written(block.monitor)}", fontsize=9)
    caption = (
        f"In the colour of the text: {block.chosen.name}. Mean over seeds, up to the last epoch that all "
        "seeds reached; band: from the lowest to the highest seed. The first epochs may be below the axes. "
        f"{seeds_sentence([*trained])}{left_out_sentence(block)}"
    )
    return [Drawing(f"{block.slug}_curves", f"{block.title}: learning curves", caption, figure)]


def limits(
    histories: Sequence[Float[np.ndarray, "_S _E"]], compared: Float[np.ndarray, "S E"] | None
) -> tuple[float, float]:
    """Return the ends of the vertical axis, which leave out values far below the compared curve."""
    values = np.concatenate([runs.ravel() for runs in histories])
    reference = values if compared is None else compared
    best, lowest = np.nanmax(values), np.nanmin(values)
    bottom = max(lowest, min(FLOOR * np.nanmax(reference), np.nanquantile(reference, 0.1, method="lower")))
    margin = 0.05 * ((best - bottom) or 1.0)
    return float(bottom - margin), float(best + margin)


def draw_curve(axes: Axes, runs: Float[np.ndarray, "S E"], colour: str) -> None:
    """Draw the mean over seeds at the epochs that all seeds validated, and the band of all seeds."""
    validated = np.isfinite(runs).all(0)
    epochs, runs = np.flatnonzero(validated) + 1, runs[:, validated]
    axes.plot(epochs, runs.mean(0), color=colour, linewidth=1.4, marker="." if len(epochs) < 20 else "")
    axes.fill_between(epochs, runs.min(0), runs.max(0), color=colour, alpha=0.15, linewidth=0)


def history(variant: Variant, key: str) -> Float[np.ndarray, "S E"]:
    """Return a metric by seed and epoch, up to the last epoch that every seed reached; NaN if not measured."""
    runs = [run.results.get("history", {}).get(key) for run in variant.runs]
    kept = [values for values in runs if values]
    length = min(map(len, kept), default=0)
    return np.array([values[:length] for values in kept], dtype=float).reshape(len(kept), length)


def seeds_sentence(variants: Sequence[Variant]) -> str:
    """Return a sentence with the number of seeds of the drawn variants."""
    counts = sorted({len(variant.runs) for variant in variants})
    return f"Seeds per variant: {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}."


def left_out_sentence(block: Block) -> str:
    """Return a sentence that not all variants are drawn; empty if all are."""
    count = len(block.variants)
    return f" The {MOST} best of {count} variants by validation." if count > MOST else ""
