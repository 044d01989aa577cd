"""The accuracy of each model with histories in order and shuffled."""

from matplotlib.figure import Figure

from adamct.evaluation.names import Metric
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.variants import Variant, defining
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import COLOURS, INK, WIDTH, styled
from adamct.report.outputs.table import Table, plain
from adamct.report.sections.comparison import measured
from adamct.report.sections.curves import seeds_sentence

KEY = "dataset.shuffle_histories"


def order(block: Block) -> list[Table | Drawing]:
    """Make a table and a figure of all models with and without order; empty if no model has both."""
    pairs = [pair for pair in pair_variants(block.variants) if all(one.mean(block.metric) is not None for one in pair)]
    if not pairs:
        return []
    pairs.sort(key=lambda pair: pair[0].mean(block.metric) or 0.0, reverse=True)
    metrics = block.in_each_ranking(block.metric.name)
    rows = [
        (label(ordered), plain([text for metric in metrics for text in loss_texts(metric, ordered, shuffled)]))
        for ordered, shuffled in pairs
    ]
    heads = [text for metric in metrics for text in (metric.heading, "shuffled", "lost")]
    note = "Shuffled: trained and tested with the items of each history in one random order."
    title = f"{block.title}: the effect of the items' order"
    table = Table(
        name=f"{block.slug}_order", title=title, corner="model", columns=tuple(heads), rows=tuple(rows), notes=(note,)
    )
    return [table, dumbbells(block, pairs)]


def pair_variants(variants: tuple[Variant, ...]) -> list[tuple[Variant, Variant]]:
    """Pair the variants that differ only in whether histories are shuffled."""
    by_rest: dict[tuple[str, frozenset[tuple[str, str]]], dict[str, Variant]] = {}
    for variant in variants:
        keys = defining(variant.runs[0])
        shuffled = keys.pop(KEY, "false")
        by_rest.setdefault((variant.model, frozenset(keys.items())), {})[shuffled] = variant
    return [(pair["false"], pair["true"]) for pair in by_rest.values() if {"false", "true"} <= pair.keys()]


def label(variant: Variant) -> str:
    """Return a variant's name without the key that distinguishes the two."""
    return variant.name.replace(" shuffle_histories=false", "")


def loss_texts(metric: Metric, ordered: Variant, shuffled: Variant) -> tuple[str, str, str]:
    """Write a metric with and without order, and the share that shuffling loses; empty if the metric is 0."""
    before, after = ordered.mean(metric) or 0.0, shuffled.mean(metric) or 0.0
    return f"{before:.4f}", f"{after:.4f}", f"{100 * (1 - after / before):.1f} %" if before else ""


def dumbbells(block: Block, pairs: list[tuple[Variant, Variant]]) -> Drawing:
    """Draw a line for each model, from its metric with shuffled histories to that with ordered ones."""
    with styled():
        figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(pairs)))
        axes = figure.add_subplot()
        places = range(len(pairs))
        ends = [[one.mean(block.metric) or 0.0 for one in pair] for pair in pairs]
        axes.hlines(
            places, [shuffled for _, shuffled in ends], [ordered for ordered, _ in ends], color=INK, linewidth=1
        )
        axes.plot([ordered for ordered, _ in ends], places, "o", color=INK, label="in order")
        axes.plot([shuffled for _, shuffled in ends], places, "s", color=COLOURS[0], mfc="white", label="shuffled")
        axes.set_yticks(places, [label(ordered) for ordered, _ in pairs])
        axes.invert_yaxis()
        axes.set_xlabel(measured(block))
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    caption = f"Mean over seeds. {seeds_sentence([one for pair in pairs for one in pair])}"
    return Drawing(f"{block.slug}_order", f"{block.title}: with and without order", caption, figure)
