"""The accuracy of each model with histories in order and shuffled."""

from collections.abc import Mapping
from itertools import product

from matplotlib.figure import Figure

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.names import numbered
from adamct.report.inputs.titles import model_title
from adamct.report.inputs.variants import Variant, defining
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import COLOURS, INK, WIDTH, styled
from adamct.report.outputs.table import NONE, Table, plain
from adamct.report.sections.comparison import measured
from adamct.report.sections.curves import seeds_sentence
from adamct.report.sections.significance import COLUMNS, cells
from adamct.report.statistics import compare

KEY = "dataset.shuffle_histories"


def order(block: Block, pairs: Mapping[str, tuple[Variant, Variant]]) -> list[Table | Drawing]:
    """Make a table and a figure of the models with and without order; empty without pairs.

    Args:
        block: the block of the variants.
        pairs: see `order_pairs`.
    """
    if not pairs:
        return []
    rows, tests = [], {(test.metric, test.other): test for test in compare(block, pairs)}
    for metric, name in product(block.in_each_ranking(block.metric.name), pairs):
        before, after = (variant.mean(metric) or 0.0 for variant in pairs[name])
        test = tests.get((metric, name))
        tested = plain([f"{before - after:+.4f}", *[NONE] * (len(COLUMNS) - 1)]) if test is None else cells(test)
        rows.append((f"{metric.heading}: {name}", (*plain([f"{before:.4f}", f"{after:.4f}"]), *tested)))
    table = Table(
        name=f"{block.slug}_order",
        title=f"{block.title}: the effect of the items' order",
        corner="model",
        columns=("in order", "shuffled", *COLUMNS),
        rows=tuple(rows),
        notes=(
            "Shuffled: trained and tested with the items of each history in one random order. Each model is tested "
            "against itself; Holm corrects p over the models of a ranking. *: significant at 5 %.",
        ),
    )
    return [table, dumbbells(block, pairs)]


def order_pairs(block: Block) -> dict[str, tuple[Variant, Variant]]:
    """Pair the variants that differ only in whether histories are shuffled, the best in order first."""
    by_rest: dict[tuple[str, frozenset[tuple[str, str]]], dict[str, Variant]] = {}
    for variant in block.variants:
        keys = defining(variant.runs[0])
        shuffled = keys.pop(KEY, "false")
        if variant.mean(block.metric) is not None:
            by_rest.setdefault((variant.model, frozenset(keys.items())), {})[shuffled] = variant
    pairs = [(pair["false"], pair["true"]) for pair in by_rest.values() if {"false", "true"} <= pair.keys()]
    pairs.sort(key=lambda pair: pair[0].mean(block.metric) or 0.0, reverse=True)
    labels = [ordered.name.replace("shuffle_histories=false", "").strip() for ordered, _ in pairs]
    titles = [name or model_title(ordered.model) for name, (ordered, _) in zip(labels, pairs, strict=True)]
    return dict(zip(numbered(titles), pairs, strict=True))


def dumbbells(block: Block, pairs: Mapping[str, tuple[Variant, Variant]]) -> Drawing:
    """Draw a line for each model, from its metric with shuffled histories to that with ordered ones."""
    with styled():
        figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(pairs)))
        axes = figure.add_subplot()
        places = range(len(pairs))
        in_order, shuffled = zip(
            *([variant.mean(block.metric) or 0.0 for variant in pair] for pair in pairs.values()), strict=True
        )
        axes.hlines(places, shuffled, in_order, color=INK, linewidth=1)
        axes.plot(in_order, places, "o", color=INK, label="in order")
        axes.plot(shuffled, places, "s", color=COLOURS[0], mfc="white", label="shuffled")
        axes.set_yticks(places, list(pairs))
        axes.invert_yaxis()
        axes.set_xlabel(measured(block))
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    caption = f"Mean over seeds. {seeds_sentence([one for pair in pairs.values() for one in pair])}"
    return Drawing(f"{block.slug}_order", f"{block.title}: with and without order", caption, figure)
