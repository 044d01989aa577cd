"""A metric by kind of user, and the part of the catalogue that is recommended."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from adamct.evaluation.gains import gains
from adamct.evaluation.names import AMONG_ALL, Metric
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.runs import Run
from adamct.report.inputs.variants import Variant
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import COMPARED, WIDTH, lines, styled
from adamct.report.outputs.table import NONE, Cell, Table
from adamct.report.sections.comparison import MANY, written
from adamct.report.sections.curves import seeds

DRAWN = 6
"""Variants in the figure."""
LISTS = {"coverage@10": ".4f", "popularity@10": ",.1f", "gini@10": ".4f"}
"""The metrics of what is recommended, and their formats."""


class Kind(NamedTuple):
    """A fact by which users are grouped into bins."""

    fact: str
    """Its name in a run's record."""
    axis: str
    """What it is, for a figure."""
    row: str
    """How a row of the table names a bin, whose numbers take the place of ``{}``."""
    starts: tuple[int, ...]
    """The least value of each bin."""


KINDS = (
    Kind("target_count", "how often training has the target", "target {} times in training", (0, 1, 6, 11, 21, 51)),
    Kind("history_len", "items the user had before", "{} items before", (1, 5, 10, 20, 50)),
)
"""Users of a 5-core log have four items before their test item, and few of them more than fifty."""


class Bins(NamedTuple):
    """A metric of one ranking and one variant in the bins of a kind."""

    users: Int[np.ndarray, " bins"]
    """Of the first seed; other seeds have others only where equal times are in random order."""
    means: Float[np.ndarray, " bins"]
    """Over the users of a bin and over seeds; NaN without users."""


def served(block: Block) -> list[Table | Drawing]:
    """Make a table and a figure of the block's metric by kind of user; nothing where no run recorded the kinds."""
    variants = [variant for variant in block.best_by_validation(MANY) if any(run.facts for run in variant.runs)]
    if not variants or block.split != "test":
        return []
    name = block.metric.name
    bins_of = {
        (kind, ranking): {variant: binned(variant, ranking, kind, name) for variant in variants}
        for kind in KINDS
        for ranking in block.rankings
    }
    drawn = [variant for variant in block.best_by_validation(DRAWN) if variant in variants] or variants
    return [served_table(block, variants, bins_of), served_figure(block, drawn, bins_of)]


BinsByKind = dict[tuple[Kind, str], dict[Variant, Bins]]
"""The values of each variant, by kind of user and ranking."""


def binned(variant: Variant, ranking: str, kind: Kind, name: str) -> Bins:
    """Average a metric over the users of each bin, and over a variant's runs that recorded the kind."""
    runs = [run for run in variant.runs if kind.fact in run.facts and ranking in run.ranks]
    if not runs:
        nothing = np.zeros(len(kind.starts), dtype=int)
        return Bins(nothing, nothing / np.nan)
    counts, sums = map(np.array, zip(*(of_bins(run, ranking, kind, name) for run in runs), strict=True))
    every = counts.sum(0)
    means = np.divide(sums.sum(0), every, out=np.full(len(every), np.nan), where=every > 0)
    return Bins(counts[0], means)


def of_bins(
    run: Run, ranking: str, kind: Kind, name: str
) -> tuple[Int[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Return how many tested users each bin has, and the sum of their gains."""
    ranks = run.ranks[ranking]
    tested = ranks > 0
    place = np.digitize(run.facts[kind.fact][tested], kind.starts) - 1
    place = np.maximum(place, 0)  # a user without a history is with the shortest
    gained = np.bincount(place, gains(ranks[tested], name), minlength=len(kind.starts))
    return np.bincount(place, minlength=len(kind.starts)), gained


def names_of_bins(starts: Sequence[int]) -> list[str]:
    """Return the numbers of each bin, as ``6 to 10``."""
    ends = [following - 1 for following in starts[1:]]
    closed = [str(start) if start == end else f"{start} to {end}" for start, end in zip(starts, ends, strict=False)]
    return [*closed, f"{starts[-1]} or more"]


def served_table(block: Block, variants: Sequence[Variant], bins_of: BinsByKind) -> Table:
    """Make a row for each ranking and bin that has users, a column for each variant."""
    rows = []
    for (kind, ranking), of_variant in bins_of.items():
        for place, numbers in enumerate(names_of_bins(kind.starts)):
            users = max(int(bins.users[place]) for bins in of_variant.values())
            means = [float(bins.means[place]) for bins in of_variant.values()]
            if users:
                label = f"{ranking}: {kind.row.format(numbers)}"
                rows.append((label, (Cell(f"{users:,}"), *best_of(means))))
    notes = [
        f"{written(block.metric).partition(' (')[0]} of the users of each kind, the mean over seeds; best bold.",
        "Target: the user's test item. Before: before the test item.",
        *([most(block, MANY)] if len(block.variants) > MANY else []),
    ]
    columns = ("users", *(variant.name for variant in variants))
    title = f"{block.dataset}: who is served"
    return Table(
        name=f"{block.slug}_served",
        title=title,
        corner="users with",
        columns=columns,
        rows=tuple(rows),
        notes=tuple(notes),
    )


def most(block: Block, count: int) -> str:
    """Say that not all variants are there."""
    return f"The {count} best of {len(block.variants)} variants by validation."


def best_of(values: Sequence[float]) -> list[Cell]:
    """Make a cell of each value, the highest marked where there are several and it is not 0; NaN is no value."""
    best = max((value for value in values if value > 0), default=None)
    marked = len(values) > 1
    return [
        Cell(NONE if value != value else f"{value:.4f}", mark="best" if marked and value == best else "")
        for value in values
    ]


def served_figure(block: Block, variants: Sequence[Variant], bins_of: BinsByKind) -> Drawing:
    """Draw a panel for each ranking and kind of user, a line for each variant."""
    with styled():
        rows = len(block.rankings)
        figure = Figure(figsize=(WIDTH, 0.9 + 1.9 * rows), layout="constrained")
        grid = figure.subplots(rows, len(KINDS), squeeze=False, sharey="row")
        for axes_of_row, ranking in zip(grid, block.rankings, strict=True):
            for axes, kind in zip(axes_of_row, KINDS, strict=True):
                panel(axes, kind, {variant: bins_of[kind, ranking][variant] for variant in variants}, block.chosen)
                axes.set_xlabel(kind.axis if axes in grid[-1] else "")
            axes_of_row[0].set_ylabel(written(block.metric._replace(ranking=ranking)))
            scale(axes_of_row[0], block.chosen, [bins_of[kind, ranking] for kind in KINDS])
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=3.2)
    left_out = f" {most(block, DRAWN)}" if len(block.variants) > DRAWN else ""
    caption = (
        "Mean over seeds, on a logarithmic scale: equal distances are equal ratios. Below each bin the number of its "
        f"users. What is far below {block.chosen.name} is not shown.{left_out} {seeds(variants)}"
    )
    return Drawing(f"{block.slug}_served", f"{block.dataset}: who is served, drawn", caption, figure)


def panel(axes: Axes, kind: Kind, of_variant: dict[Variant, Bins], chosen: Variant) -> None:
    """Draw each variant over the bins that have users."""
    users = np.max([bins.users for bins in of_variant.values()], axis=0)
    kept = np.flatnonzero(users)
    looks = lines()
    for variant, bins in of_variant.items():
        look = COMPARED if variant is chosen else next(looks)
        means = np.where(bins.means > 0, bins.means, np.nan)[kept]
        axes.plot(range(len(kept)), means, label=variant.name, markersize=5, **look._asdict())
    numbers = [names_of_bins(kind.starts)[place].replace(" to ", "-").replace(" or more", "+") for place in kept]
    ticks = [f"{number}\n{users[place]:,}" for number, place in zip(numbers, kept, strict=True)]
    axes.set_xticks(range(len(kept)), ticks, fontsize=7)
    axes.set_xlim(-0.3, len(kept) - 0.7)  # also where the first bin has no point


def scale(axes: Axes, chosen: Variant, bins_of: Sequence[dict[Variant, Bins]]) -> None:
    """Give a panel a logarithmic scale that reaches from somewhat below the compared variant to the best of all."""
    compared = np.concatenate([of_variant[chosen].means for of_variant in bins_of if chosen in of_variant] or [[]])
    every = np.concatenate([bins.means for of_variant in bins_of for bins in of_variant.values()])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    positive = compared[compared > 0] if (compared > 0).any() else every[every > 0]
    if len(positive):
        axes.set_ylim(positive.min() / 2, np.nanmax(every) * 1.2)


def recommended_table(block: Block) -> Table | None:
    """Make a table of what is recommended in the rankings among all items; None where no run measured it."""
    metrics = [
        (metric, form)
        for ranking in AMONG_ALL
        for name, form in LISTS.items()
        if (metric := Metric(block.split, ranking, name)) in block.metrics
    ]
    if not metrics:
        return None
    rows = [
        (variant.name, tuple(listed(variant.values(metric), form) for metric, form in metrics))
        for variant in block.variants
    ]
    notes = (
        "Of the ten items that are recommended to each user: mean ± sample standard deviation over seeds.",
        "Coverage: the share of the catalogue that is in any list (Ge, Delgado-Battenfeld & Jannach, RecSys '10).",
        "Popularity: how often a listed item occurs in training, the mean over all places of all lists (Yin et al., "
        "VLDB '12; Abdollahpouri et al., '19).",
        "Gini: with the n items' shares p(1) to p(n) of all places in ascending order, the sum of (2j - n - 1) p(j), "
        "divided by n - 1 (Shani & Gunawardana, Recommender Systems Handbook, 2011); 0 where all items are listed "
        "equally often, 1 where only one is.",
    )
    title = f"{block.dataset}: what is recommended"
    columns = tuple(metric.heading for metric, _ in metrics)
    return Table(
        name=f"{block.slug}_recommended", title=title, corner="model", columns=columns, rows=tuple(rows), notes=notes
    )


def listed(values: Sequence[float], form: str) -> Cell:
    """Make a cell of a metric's mean and spread."""
    if not values:
        return Cell(NONE)
    return Cell(format(mean(values), form), spread=format(stdev(values), form) if len(values) > 1 else "")
