"""The mixture coefficients of AdaMCT: over training (the paper's Figure 6), and by the kind of user (its Figure 1)."""

from itertools import product

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from adamct.report.inputs.blocks import Block
from adamct.report.inputs.runs import Run
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import COLOURS, INK, WIDTH, lines, styled
from adamct.report.outputs.table import Table, plain
from adamct.runs.folder import COEFFICIENTS

BINS = np.linspace(0, 1, 41)


def over_training(block: Block) -> list[Drawing]:
    """Draw α of followed users in each layer, and the last layer's means of α and 1 - α; nothing if none was logged."""
    run = block.chosen.runs[0]
    history = {
        key.removeprefix("mixture/"): np.array(values, dtype=float)
        for key, values in run.results.get("history", {}).items()
        if key.startswith("mixture/layer")
    }
    layers = [key.removesuffix("/mean") for key in history if key.endswith("/mean")]
    layers = [layer for layer in layers if f"{layer}/std" in history]
    followed = sorted((key.partition("/")[::2] for key in history if "/user" in key), key=lambda pair: pair[::-1])
    logged = [np.isfinite(history[f"{layer}/mean"]) for layer in layers]
    validated = np.flatnonzero(np.all(logged, axis=0)) if logged else np.array([], dtype=int)  # not every epoch need be
    if not validated.size:
        return []
    epochs = validated + 1
    with styled():
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        looks = lines()
        for layer, user in followed:
            label = f"user {user.removeprefix('user')}, layer {layer.removeprefix('layer')}"
            values = history[f"{layer}/{user}"][validated]
            left.plot(
                epochs, values, label=label, markevery=max(1, len(epochs) // 8), markersize=4, **next(looks)._asdict()
            )
        alpha, spread = (history[f"{layers[-1]}/{kind}"][validated] for kind in ("mean", "std"))
        for values, label, dash, colour in (
            (alpha, "α, local", "-", INK),
            (1 - alpha, "1 - α, global", "--", COLOURS[0]),
        ):
            right.plot(epochs, values, dash, label=label, color=colour)
            right.fill_between(epochs, values - spread, values + spread, color=colour, alpha=0.12, linewidth=0)
        left.set_ylabel("coefficient of the local branch, α")
        right.set_title(f"mean over users, layer {layers[-1].removeprefix('layer')}", fontsize=9)
        for axes in (left, right):
            axes.set_ylim(0, 1)
            axes.set_xlim(left=0)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    first, last = alpha[0], alpha[-1]
    moved = "towards the global branch" if last < first else "towards the local branch"
    caption = (
        f"{block.chosen.name}, seed {run.seed}, validation users. The last layer's average α went from {first:.3f} "
        f"after the first epoch to {last:.3f} after the last, {moved}; band: standard deviation over users. The paper "
        "sees CNNs weigh more at the beginning and then the Transformer."
    )
    title = f"{block.dataset}: mixture coefficients over training"
    return [Drawing(f"{block.slug}_coefficients", title, caption, figure)]


def by_kind(block: Block) -> list[Table | Drawing]:
    """Test whether α separates the kinds of users that the data has; return nothing if it has none."""
    recorded = [(run, *recorded_coefficients(run)) for run in block.chosen.runs]
    with_kinds = [(run, layers, kinds) for run, layers, kinds in recorded if layers and kinds]
    if not with_kinds:
        return []
    rows = []
    for run, layers, kinds in with_kinds:
        for (layer, alpha), (kind, is_kind) in product(layers.items(), kinds.items()):
            means = [f"{alpha[chosen].mean():.3f}" for chosen in (is_kind, ~is_kind)]
            rows.append((f"seed {run.seed}, layer {layer}", plain([kind, *means, f"{auc(alpha, ~is_kind):.3f}"])))
    columns = ("kind", "mean α of it", "mean α of others", "AUC")
    note = (
        "AUC: how often a user not of the kind has the higher α, the weight of the local branch, than one of it; a "
        "half is no better than chance."
    )
    title = f"{block.dataset}: do the coefficients tell kinds of users apart"
    table = Table(name=f"{block.slug}_kinds", title=title, corner="", columns=columns, rows=tuple(rows), notes=(note,))
    run, layers, kinds = with_kinds[0]
    return [table, histograms(block, run, layers, kinds)]


def histograms(
    block: Block, run: Run, layers: dict[str, Float[np.ndarray, " U"]], kinds: dict[str, Bool[np.ndarray, " U"]]
) -> Drawing:
    """Draw the distributions of α in each layer, by the first kind."""
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
    return Drawing(f"{block.slug}_kinds", f"{block.dataset}: coefficients by kind of user", caption, figure)


def recorded_coefficients(run: Run) -> tuple[dict[str, Float[np.ndarray, " T"]], dict[str, Bool[np.ndarray, " T"]]]:
    """Return by layer the α of each of the T users that have a test item, and by kind who is of it."""
    arrays = run.arrays.get(COEFFICIENTS, {})
    layers = {key.removeprefix("layer"): values for key, values in arrays.items() if key.startswith("layer")}
    tested = ~np.isnan(next(iter(layers.values()), np.array([])))
    layers = {layer: alpha[tested] for layer, alpha in layers.items()}
    kinds = {key: values[tested] for key, values in arrays.items() if layers and not key.startswith("layer")}
    return layers, {kind: is_kind for kind, is_kind in kinds.items() if 0 < is_kind.sum() < len(is_kind)}


def auc(values: Float[np.ndarray, " U"], positive: Bool[np.ndarray, " U"]) -> float:
    """Return how often a positive's value is above a negative's, ties counting half."""
    statistic = stats.mannwhitneyu(values[positive], values[~positive]).statistic
    return float(statistic / (positive.sum() * (~positive).sum()))
