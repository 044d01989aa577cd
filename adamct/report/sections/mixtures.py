"""The mixture coefficients of AdaMCT: over training (the paper's Figure 6), and by kind of user (its Figure 1)."""

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.runs import Run
from adamct.report.inputs.titles import model_title
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import COLOURS, INK, WIDTH, lines, styled
from adamct.report.outputs.table import Table, plain
from adamct.runs.folder import COEFFICIENTS

STUDY = "figure6"
"""The study that asks for the coefficients over training."""
BINS = np.linspace(0, 1, 41)


class Coefficients(NamedTuple):
    """The logged mixture coefficients α of one run, at the E epochs that were validated."""

    epochs: Int[np.ndarray, " E"]
    """The epochs, from 1."""
    followed: dict[tuple[str, str], Float[np.ndarray, " E"]]
    """α by user and layer."""
    layer: str
    """The last layer."""
    mean: Float[np.ndarray, " E"]
    """The mean of α over users in the last layer."""
    low: Float[np.ndarray, " E"]
    """The 10 % quantile of α over users in the last layer."""
    high: Float[np.ndarray, " E"]
    """The 90 % quantile."""


def over_training(block: Block) -> list[Drawing]:
    """Draw α of the followed users, and α and 1 - α of all in the last layer; empty in other studies."""
    run = block.chosen.runs[0]
    logged = logged_coefficients(run) if block.study == STUDY else None
    if logged is None:
        return []
    with styled():
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        draw_followed(left, logged)
        draw_all(right, logged)
        for axes in (left, right):
            axes.set_ylim(0, 1)
            axes.set_xlim(left=0)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    first, last = logged.mean[0], logged.mean[-1]
    branch = "global" if last < first else "local"
    caption = (
        f"{model_title(block.chosen.model)}, seed {run.seed}, validation users. The last layer's mean α "
        f"went from {first:.3f} after the first epoch to {last:.3f} after the last, towards the {branch} branch; band: "
        "from the 10 % to the 90 % quantile of users. In the paper the CNN has more weight at the beginning, and the "
        "Transformer later."
    )
    title = f"{block.title}: mixture coefficients over training"
    return [Drawing(f"{block.slug}_coefficients", title, caption, figure)]


def logged_coefficients(run: Run) -> Coefficients | None:
    """Return the coefficients in a run's history; None if it has none."""
    history = {
        key.removeprefix("mixture/"): np.array(values, dtype=float)
        for key, values in run.results.get("history", {}).items()
        if key.startswith("mixture/layer")
    }
    layers = [key.removesuffix("/mean") for key in history if key.endswith("/mean")]
    layers = [layer for layer in layers if {f"{layer}/q10", f"{layer}/q90"} <= history.keys()]
    if not layers:
        return None
    validated = np.flatnonzero(np.all([np.isfinite(history[f"{layer}/mean"]) for layer in layers], axis=0))
    if not validated.size:
        return None
    followed = sorted((key.partition("/")[::2] for key in history if "/user" in key), key=lambda pair: pair[::-1])
    return Coefficients(
        epochs=validated + 1,
        followed={
            (user.removeprefix("user"), layer.removeprefix("layer")): history[f"{layer}/{user}"][validated]
            for layer, user in followed
        },
        layer=layers[-1].removeprefix("layer"),
        mean=history[f"{layers[-1]}/mean"][validated],
        low=history[f"{layers[-1]}/q10"][validated],
        high=history[f"{layers[-1]}/q90"][validated],
    )


def draw_followed(axes: Axes, logged: Coefficients) -> None:
    """Draw a line of α for each followed user and layer."""
    every = max(1, len(logged.epochs) // 8)
    for ((user, layer), values), look in zip(logged.followed.items(), lines(), strict=False):
        label = f"user {user}, layer {layer}"
        axes.plot(logged.epochs, values, label=label, markevery=every, markersize=4, **look._asdict())
    axes.set_ylabel("coefficient of the local branch, α")


def draw_all(axes: Axes, logged: Coefficients) -> None:
    """Draw the means of α and 1 - α in the last layer, with bands of the users' quantiles."""
    for values, low, high, label, dash, colour in (
        (logged.mean, logged.low, logged.high, "α, local", "-", INK),
        (1 - logged.mean, 1 - logged.high, 1 - logged.low, "1 - α, global", "--", COLOURS[0]),
    ):
        axes.plot(logged.epochs, values, dash, label=label, color=colour)
        axes.fill_between(logged.epochs, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_title(f"all users, layer {logged.layer}", fontsize=9)


def by_kind(block: Block) -> list[Table | Drawing]:
    """Compare α between the kinds of users that the data has; empty if it has no kinds."""
    recorded = [(run, *recorded_coefficients(run)) for run in block.chosen.runs]
    with_kinds = [(run, layers, kinds) for run, layers, kinds in recorded if layers and kinds]
    if not with_kinds:
        return []
    rows = []
    for run, layers, kinds in with_kinds:
        for (layer, alpha), (kind, is_kind) in product(layers.items(), kinds.items()):
            means = [f"{alpha[users].mean():.3f}" for users in (is_kind, ~is_kind)]
            rows.append((f"seed {run.seed}, layer {layer}", plain([kind, *means, f"{auc(alpha, ~is_kind):.3f}"])))
    columns = ("kind", "mean α of the kind", "mean α of the others", "AUC")
    note = (
        "AUC: how often a user who is not of the kind has a higher α, the weight of the local branch, than a user of "
        "the kind. 0.5 is chance."
    )
    title = f"{block.title}: mixture coefficients by kind of user"
    table = Table(name=f"{block.slug}_kinds", title=title, corner="", columns=columns, rows=tuple(rows), notes=(note,))
    run, layers, kinds = with_kinds[0]
    return [table, histograms(block, run, layers, kinds)]


def histograms(
    block: Block, run: Run, layers: dict[str, Float[np.ndarray, " U"]], kinds: dict[str, Bool[np.ndarray, " U"]]
) -> Drawing:
    """Draw the distribution of α in each layer for the users of the first kind and for the others."""
    kind, is_kind = next(iter(kinds.items()))
    with styled():
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        panels = figure.subplots(1, len(layers), sharey=True, squeeze=False)[0]
        for axes, (layer, alpha) in zip(panels, layers.items(), strict=True):
            axes.hist(alpha[is_kind], BINS, color=COLOURS[0], alpha=0.45, hatch="///", label=kind)
            axes.hist(alpha[~is_kind], BINS, histtype="step", color=INK, linewidth=1.4, label=f"not {kind}")
            axes.set_title(f"layer {layer}: AUC {auc(alpha, ~is_kind):.2f}", fontsize=9)
            axes.set_xlabel("α, weight of the local branch")
        panels[0].set_ylabel("test users")
        panels[0].legend()
    caption = f"{block.chosen.name}, seed {run.seed}: each test user's coefficient."
    return Drawing(f"{block.slug}_kinds", f"{block.title}: distribution of the coefficients", caption, figure)


def recorded_coefficients(run: Run) -> tuple[dict[str, Float[np.ndarray, " T"]], dict[str, Bool[np.ndarray, " T"]]]:
    """Return α by layer, and the members of each kind as a mask, both for the T users that have a test item."""
    arrays = run.arrays.get(COEFFICIENTS, {})
    layers = {key.removeprefix("layer"): values for key, values in arrays.items() if key.startswith("layer")}
    tested = ~np.isnan(next(iter(layers.values()), np.array([])))
    layers = {layer: alpha[tested] for layer, alpha in layers.items()}
    kinds = {key: values[tested] for key, values in arrays.items() if layers and not key.startswith("layer")}
    return layers, {kind: is_kind for kind, is_kind in kinds.items() if 0 < is_kind.sum() < len(is_kind)}


def auc(values: Float[np.ndarray, " U"], positive: Bool[np.ndarray, " U"]) -> float:
    """Return the share of pairs in which a positive's value is above a negative's; a tie counts half."""
    statistic = stats.mannwhitneyu(values[positive], values[~positive]).statistic
    return float(statistic / (positive.sum() * (~positive).sum()))
