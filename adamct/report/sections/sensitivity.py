"""Each hyperparameter by itself: the metric over one key's values. All other keys are those of the compared variant."""

from collections.abc import Sequence
from statistics import mean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.names import printable, shortened
from adamct.report.inputs.paper import MODEL, reported
from adamct.report.inputs.variants import Variant, defining, last_part, number
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import INK, PAPER, WIDTH, styled
from adamct.report.sections.comparison import measured
from adamct.report.sections.curves import seeds_sentence

FEWEST = 3
"""The least number of values for a panel."""
ACROSS = 3
"""The number of panels in a row."""


def sensitivity(block: Block) -> list[Drawing]:
    """Draw a panel for each key that was varied by itself over enough values; empty if none was."""
    varied = {key: values for key, values in alone(block).items() if not key.endswith("_target_")}
    panels = {key: values for key, values in varied.items() if len(values) >= FEWEST}
    if not panels:
        return []
    with styled():
        rows = -(-len(panels) // ACROSS)
        figure = Figure(figsize=(WIDTH, 2.3 * rows), layout="constrained")
        axes = list(figure.subplots(rows, min(ACROSS, len(panels)), squeeze=False, sharey=True).flat)
        with_paper = [
            panel(block, axis, key, values) for axis, (key, values) in zip(axes, panels.items(), strict=False)
        ]
        for axis in axes[len(panels) :]:
            axis.remove()
        figure.supylabel(measured(block), fontsize=9)
    paper = (
        " Diamonds: the paper. Its other values are not always those of the compared variant."
        if any(with_paper)
        else ""
    )
    drawn = [variant for values in panels.values() for variant in values.values()]
    caption = (
        f"One key changed at a time from {block.chosen.name}, the filled point. Error bar: sample standard deviation "
        f"over seeds.{paper} {seeds_sentence(drawn)}"
    )
    title = f"{block.title}: each hyperparameter by itself"
    return [Drawing(f"{block.slug}_sensitivity", title, caption, figure)]


def alone(block: Block) -> dict[str, dict[str, Variant]]:
    """Return the variants that differ from the compared one in a single key, and that one, by key and value."""
    base = without_label(block.chosen)
    variants: dict[str, dict[str, Variant]] = {}
    if block.chosen.mean(block.metric) is None:
        return variants
    for variant in (other for other in block.others if other.mean(block.metric) is not None):
        keys = without_label(variant)
        differ = [key for key in keys.keys() | base.keys() if keys.get(key) != base.get(key)]
        if len(differ) == 1 and differ[0] in keys and differ[0] in base:
            variants.setdefault(differ[0], {base[differ[0]]: block.chosen})[keys[differ[0]]] = variant
    return {key: dict(sorted(values.items(), key=lambda item: place(item[0]))) for key, values in variants.items()}


def without_label(variant: Variant) -> dict[str, str]:
    """Return the keys that define a variant, without its label."""
    return {key: value for key, value in defining(variant.runs[0]).items() if key != "label"}


def place(value: str) -> tuple[bool, float, str]:
    """Return a sort key that orders numbers by size, then words."""
    return number(value) is None, number(value) or 0.0, value


def panel(block: Block, axes: Axes, key: str, values: dict[str, Variant]) -> bool:
    """Draw the panel of a key with evenly spaced values. Return whether the paper has some of them."""
    numbers = all(number(value) is not None for value in values)
    scores = [variant.values(block.metric) for variant in values.values()]
    positions = range(len(values))
    errors = [stdev(values) if len(values) > 1 else 0.0 for values in scores]
    line = "-" if numbers else "none"  # words have no order that a line could follow
    axes.errorbar(
        positions, list(map(mean, scores)), yerr=errors, color=INK, linestyle=line, marker="o", mfc="white", capsize=2
    )
    base = list(values.values()).index(block.chosen)
    axes.plot(base, mean(scores[base]), "o", color=INK, zorder=3)
    paper = paper_values(block, key, list(values))
    points = [(position, value) for position, value in zip(positions, paper, strict=True) if value is not None]
    if points:
        axes.plot(*zip(*points, strict=True), "D", color=PAPER, markeredgecolor=INK, markersize=4)
    axes.set_xticks(positions, [shortened(printable(value)) for value in values], fontsize=8)
    axes.margins(x=0.12)
    axes.set_xlabel(last_part(key).replace("_", " "))
    return bool(points)


def paper_values(block: Block, key: str, values: Sequence[str]) -> list[float | None]:
    """Return the paper's metric for each value of a key; None if the paper lacks the value."""
    if block.split != "test" or block.chosen.model != MODEL:
        return [None] * len(values)
    figures = [reported(block.dataset, MODEL, f"{last_part(key)}={value}", block.metric) for value in values]
    return [None if one is None else one.value for one in figures]
