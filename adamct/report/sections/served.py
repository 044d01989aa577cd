"""The block's metric by kind of user, and the coverage, popularity and Gini coefficient of the recommended items."""

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
from adamct.report.sections.comparison import written
from adamct.report.sections.curves import seeds_sentence

MANY = 12
"""The most variants in the table."""
DRAWN = 6
"""The most variants in the figure."""
LISTS = {"coverage@10": ".4f", "popularity@10": ",.1f", "gini@10": ".4f"}
"""The metrics of the recommended lists, and their formats."""


class Kind(NamedTuple):
    """A fact by which users are grouped into bins."""

    fact: str
    """The fact's name in a run's arrays."""
    axis: str
    """The label of a figure's axis."""
    row: str
    """The label of a table's row, with ``{}`` for the numbers of a bin."""
    starts: tuple[int, ...]
    """The least value of each bin."""


KINDS = (
    Kind("target_count", "occurrences of the target in training", "target {} times in training", (0, 1, 6, 11, 21, 51)),
    Kind("history_len", "items in the user's history", "{} items before", (1, 5, 10, 20, 50)),
)
"""The kinds. Users of a 5-core log have at least four items before their test item, and few have more than fifty."""


class Bins(NamedTuple):
    """A metric of one ranking and one variant in the bins of a kind."""

    users: Int[np.ndarray, " bins"]
    """The users of the first seed. Those of other seeds differ only if equal times are in random order."""
    means: Float[np.ndarray, " bins"]
    """The means over a bin's users and over seeds; NaN without users."""


def served(block: Block) -> list[Table | Drawing]:
    """Make a table and a figure of the block's metric by kind of user; empty if no run recorded the kinds."""
    variants = [variant for variant in block.best_by_validation(MANY) if any(run.facts for run in variant.runs)]
    if not variants or block.split != "test":
        return []
    name = block.metric.name
    bins_by_kind = {
        (kind, ranking): {variant: binned(variant, ranking, kind, name) for variant in variants}
        for kind in KINDS
        for ranking in block.rankings
    }
    drawn = [variant for variant in block.best_by_validation(DRAWN) if variant in variants] or variants
    return [served_table(block, variants, bins_by_kind), served_figure(block, drawn, bins_by_kind)]


BinsByKind = dict[tuple[Kind, str], dict[Variant, Bins]]
"""The values of each variant, by kind of user and ranking."""


def binned(variant: Variant, ranking: str, kind: Kind, name: str) -> Bins:
    """Average a metric over the users of each bin, and over a variant's runs that recorded the kind."""
    metric = Metric("test", ranking, name)
    runs = [run for run in variant.runs if kind.fact in run.facts and run.can_test(metric)]
    if not runs:
        counts = np.zeros(len(kind.starts), dtype=int)
        return Bins(counts, counts / np.nan)
    counts, sums = map(np.array, zip(*(counts_and_sums(run, ranking, kind, name) for run in runs), strict=True))
    total = counts.sum(0)
    means = np.divide(sums.sum(0), total, out=np.full(len(total), np.nan), where=total > 0)
    return Bins(counts[0], means)


def counts_and_sums(
    run: Run, ranking: str, kind: Kind, name: str
) -> tuple[Int[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Return the number of tested users in each bin, and the sum of their gains."""
    ranks = run.ranks[ranking]
    tested = ranks > 0
    index = np.digitize(run.facts[kind.fact][tested], kind.starts) - 1
    index = np.maximum(index, 0)  # a user without a history is in the bin of the shortest
    sums = np.bincount(index, gains(ranks[tested], name), minlength=len(kind.starts))
    return np.bincount(index, minlength=len(kind.starts)), sums


def bin_names(starts: Sequence[int]) -> list[str]:
    """Return the range of each bin as text, such as ``6 to 10``."""
    ends = [following - 1 for following in starts[1:]]
    closed = [str(start) if start == end else f"{start} to {end}" for start, end in zip(starts, ends, strict=False)]
    return [*closed, f"{starts[-1]} or more"]


def served_table(block: Block, variants: Sequence[Variant], bins_by_kind: BinsByKind) -> Table:
    """Make a table with a row for each ranking and bin that has users, and a column for each variant."""
    rows = []
    for (kind, ranking), variant_bins in bins_by_kind.items():
        for index, numbers in enumerate(bin_names(kind.starts)):
            users = max(int(bins.users[index]) for bins in variant_bins.values())
            means = [float(bins.means[index]) for bins in variant_bins.values()]
            if users:
                label = f"{ranking}: {kind.row.format(numbers)}"
                rows.append((label, (Cell(f"{users:,}"), *marked_cells(means))))
    notes = [
        f"{written(block.metric).partition(' (')[0]} of the users of each kind, mean over seeds; best bold.",
        "Target: the user's test item. Before: before the test item.",
        *([left_out_sentence(block, MANY)] if len(block.variants) > MANY else []),
    ]
    columns = ("users", *(variant.name for variant in variants))
    title = f"{block.title}: the metric by kind of user"
    return Table(
        name=f"{block.slug}_served",
        title=title,
        corner="users with",
        columns=columns,
        rows=tuple(rows),
        notes=tuple(notes),
        compared=block.chosen.name,
    )


def left_out_sentence(block: Block, count: int) -> str:
    """Return a sentence that only the best variants are shown."""
    return f"The {count} best of {len(block.variants)} variants by validation."


def marked_cells(values: Sequence[float]) -> list[Cell]:
    """Make a cell for each value. The highest of several is marked unless it is 0. NaN is a missing value."""
    best = max((value for value in values if value > 0), default=None)
    several = len(values) > 1
    return [
        Cell(NONE if value != value else f"{value:.4f}", mark="best" if several and value == best else "")
        for value in values
    ]


def served_figure(block: Block, variants: Sequence[Variant], bins_by_kind: BinsByKind) -> Drawing:
    """Draw a panel for each ranking and kind of user, with a line for each variant."""
    with styled():
        rows = len(block.rankings)
        figure = Figure(figsize=(WIDTH, 0.9 + 1.9 * rows), layout="constrained")
        grid = figure.subplots(rows, len(KINDS), squeeze=False, sharey="row")
        for row_axes, ranking in zip(grid, block.rankings, strict=True):
            for axes, kind in zip(row_axes, KINDS, strict=True):
                panel(axes, kind, {variant: bins_by_kind[kind, ranking][variant] for variant in variants}, block.chosen)
                axes.set_xlabel(kind.axis if axes in grid[-1] else "")
            row_axes[0].set_ylabel(written(block.metric._replace(ranking=ranking)))
            set_log_scale(row_axes[0], block.chosen, [bins_by_kind[kind, ranking] for kind in KINDS])
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=3.2)
    left_out = f" {left_out_sentence(block, DRAWN)}" if len(block.variants) > DRAWN else ""
    caption = (
        "Mean over seeds, on a logarithmic scale: equal distances are equal ratios. The number of a bin's users is "
        f"below it. Values far below {block.chosen.name} are not shown.{left_out} {seeds_sentence(variants)}"
    )
    return Drawing(f"{block.slug}_served", f"{block.title}: the metric by kind of user, as a figure", caption, figure)


def panel(axes: Axes, kind: Kind, variant_bins: dict[Variant, Bins], chosen: Variant) -> None:
    """Draw each variant over the bins that have users."""
    users = np.max([bins.users for bins in variant_bins.values()], axis=0)
    kept = np.flatnonzero(users)
    looks = lines()
    for variant, bins in variant_bins.items():
        look = COMPARED if variant is chosen else next(looks)
        means = np.where(bins.means > 0, bins.means, np.nan)[kept]
        axes.plot(range(len(kept)), means, label=variant.name, markersize=5, **look._asdict())
    numbers = [bin_names(kind.starts)[index].replace(" to ", "-").replace(" or more", "+") for index in kept]
    ticks = [f"{number}\n{users[index]:,}" for number, index in zip(numbers, kept, strict=True)]
    axes.set_xticks(range(len(kept)), ticks, fontsize=7)
    axes.set_xlim(-0.3, len(kept) - 0.7)  # even if the first bin has no point


def set_log_scale(axes: Axes, chosen: Variant, panels: Sequence[dict[Variant, Bins]]) -> None:
    """Give a row of panels a logarithmic scale, from half the compared variant's lowest value to the best of all.

    A row without a positive value keeps its linear scale.
    """
    compared = np.concatenate([panel[chosen].means for panel in panels if chosen in panel] or [[]])
    every = np.concatenate([bins.means for panel in panels for bins in panel.values()])
    positive = compared[compared > 0] if (compared > 0).any() else every[every > 0]
    if not len(positive):
        return  # a logarithmic scale cannot show zeros alone
    axes.set_yscale("log")
    axes.set_ylim(positive.min() / 2, np.nanmax(every) * 1.2)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def recommended_table(block: Block) -> Table | None:
    """Make a table of the recommended lists' metrics, in the rankings among all items. Return None without any."""
    metrics = [
        (metric, form)
        for ranking in AMONG_ALL
        for name, form in LISTS.items()
        if (metric := Metric(block.split, ranking, name)) in block.metrics
    ]
    if not metrics:
        return None
    rows = [
        (variant.name, tuple(mean_cell(variant.values(metric), form) for metric, form in metrics))
        for variant in block.variants
    ]
    notes = (
        "Each user's list has ten items. Mean ± sample standard deviation over seeds.",
        "Coverage: the share of the catalogue that is in any list (Ge, Delgado-Battenfeld & Jannach, RecSys '10).",
        "Popularity: how often a listed item occurs in training, mean over all places of all lists (Yin et al., "
        "VLDB '12; Abdollahpouri et al., '19).",
        "Gini: the sum of (2j - n - 1) p(j), divided by n - 1, where p(1) to p(n) are the items' shares of all places "
        "in ascending order (Shani & Gunawardana, Recommender Systems Handbook, 2011). It is 0 if all items are listed "
        "equally often, and 1 if only one is listed.",
    )
    title = f"{block.title}: the recommended items"
    columns = tuple(metric.heading for metric, _ in metrics)
    return Table(
        name=f"{block.slug}_recommended",
        title=title,
        corner="model",
        columns=columns,
        rows=tuple(rows),
        notes=notes,
        compared=block.chosen.name,
    )


def mean_cell(values: Sequence[float], form: str) -> Cell:
    """Make a cell with the mean and standard deviation of some values."""
    if not values:
        return Cell(NONE)
    return Cell(format(mean(values), form), spread=format(stdev(values), form) if len(values) > 1 else "")
