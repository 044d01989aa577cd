"""The learning curves and the bars of the tested metric."""

from collections.abc import Sequence
from statistics import stdev

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import COLOURS, COMPARED, INK, WIDTH, lines, styled
from adamct.report.sections.comparison import in_paper, measured, sources, written

MOST = 15
"""The most variants in a figure."""


def drawings(block: Block) -> list[Drawing]:
    """Draw a block's learning curves and bars."""
    with styled():
        return [*curves(block), *bars(block)]


def curves(block: Block) -> list[Drawing]:
    """Draw the monitored metric over the epochs; empty if no run has a history of it."""
    histories = [(variant, history(variant, str(block.monitor))) for variant in block.best_by_validation(MOST)]
    trained = [(variant, runs) for variant, runs in histories if runs.size]
    if not trained:
        return []
    figure = Figure(figsize=(WIDTH, 4.0))
    axes = figure.add_subplot()
    looks = lines()
    for variant, runs in trained:
        look = COMPARED if variant is block.chosen else next(looks)
        validated = np.isfinite(runs).all(0)
        epochs, runs = np.flatnonzero(validated) + 1, runs[:, validated]
        every = max(1, len(epochs) // 8)
        axes.plot(epochs, runs.mean(0), label=variant.name, markevery=every, markersize=4, **look._asdict())
        axes.fill_between(epochs, runs.min(0), runs.max(0), color=look.color, alpha=0.12, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(left=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"validation {written(block.monitor)}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, handlelength=3.2)
    caption = (
        "Mean over seeds, up to the last epoch that all seeds reached; band: from the lowest to the highest seed. "
        f"{seeds_sentence([variant for variant, _ in trained])}{left_out_sentence(block)}"
    )
    return [Drawing(f"{block.slug}_curves", f"{block.title}: learning curves", caption, figure)]


def bars(block: Block) -> list[Drawing]:
    """Draw the tested metric of each variant, and the paper's value; empty if no drawn variant has the metric."""
    variants = [variant for variant in block.best_by_validation(MOST) if variant.mean(block.metric) is not None]
    if not variants:
        return []
    figure = Figure(figsize=(WIDTH, 0.8 + 0.32 * len(variants)))
    axes = figure.add_subplot()
    for place, variant in enumerate(variants):
        values = variant.values(block.metric)
        look = {"color": INK, "alpha": 0.35} if variant is block.chosen else {"color": COLOURS[0], "alpha": 0.45}
        axes.barh(place, np.mean(values), height=0.66, **look, hatch="" if variant is block.chosen else "///")
        if len(values) > 1:
            axes.errorbar(np.mean(values), place, xerr=stdev(values), color=INK, capsize=3, linewidth=1.2)
    paper_values = [in_paper(block, variant, block.metric) for variant in variants]
    points = [(one.value, place) for place, one in enumerate(paper_values) if one is not None and one.value is not None]
    if points:
        axes.plot(*zip(*points, strict=True), "D", label="paper", color=COLOURS[1], markeredgecolor=INK, markersize=5)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    axes.set_yticks(range(len(variants)), [variant.name for variant in variants])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(measured(block))
    paper = f" Diamond: {sources(block)} of the paper." if points else ""
    sentences = f"{seeds_sentence(variants)}{left_out_sentence(block)}"
    caption = f"Mean over seeds; error bar: sample standard deviation.{paper} {sentences}"
    return [Drawing(f"{block.slug}_bars", f"{block.title}: {written(block.metric)}", caption, figure)]


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
