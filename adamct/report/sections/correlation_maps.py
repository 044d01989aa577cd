"""The correlations between a history's items in the parts of AdaMCT's last layer: the paper's Figures 5, 7 and 8."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adamct.report.inputs.arrays import PARTS
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.titles import model_title
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.style import WIDTH, styled
from adamct.runs.folder import CORRELATIONS

MOST = 20
"""The most users in the figure. A much taller figure could not be saved."""
LEAST = 0.5
"""The weight that is white, in multiples of an equal weight of all positions."""
NEAR = 3
"""Positions on either side that count as near."""


def correlation_maps(block: Block) -> list[Drawing]:
    """Draw a row of maps for each recorded user of the compared variant's first run; empty if none was recorded."""
    run = block.chosen.runs[0]
    arrays = run.arrays.get(CORRELATIONS)
    if not arrays:
        return []
    arrays = {name: values[:MOST] for name, values in arrays.items()}
    users, lengths = arrays["user"], arrays["seq_len"]
    with styled():
        figure = Figure(figsize=(WIDTH, 2.0 * len(users)), layout="constrained")
        grid = figure.subplots(len(users), len(PARTS), squeeze=False)
        highest = max(LEAST * 2, *(float((arrays[part] * lengths[:, None, None]).max()) for part in PARTS))
        scale = LogNorm(LEAST, highest, clip=True)
        for row, (user_axes, length) in enumerate(zip(grid, lengths, strict=True)):
            for axes, part in zip(user_axes, PARTS, strict=True):
                shown = arrays[part][row, :length, :length] * length
                edges = (0.5, length + 0.5, length + 0.5, 0.5)
                axes.imshow(shown, cmap="Greys", norm=scale, extent=edges, interpolation="none")  # readable in print
                axes.grid(visible=False)
                axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
                axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
                if row == 0:
                    axes.set_title(part, fontsize=9)
            user_axes[0].set_ylabel(f"user {users[row]}\nposition", fontsize=8)
        for axes in grid[-1]:
            axes.set_xlabel("position", fontsize=8)
        bar = figure.colorbar(ScalarMappable(scale, "Greys"), ax=grid, shrink=0.6, format="{x:g}")
        bar.set_label("weight, in multiples of an equal one", fontsize=8)
    even = np.ones_like(arrays[PARTS[0]]) / lengths[:, None, None]
    shares = ", ".join(f"{near(arrays[part], lengths):.2f} {part}" for part in PARTS)
    shares += f"; {near(even, lengths):.2f} if all weights were equal"
    caption = (
        f"{model_title(block.chosen.model)}, seed {run.seed}: softmax(F F^T), where F is the output of a branch "
        "of the last layer after its gate, or of their mixture. All panels have one logarithmic scale. The test users "
        f"have the longest histories; the latest item is last. Mean share of a row's weight within {NEAR} "
        f"positions: {shares}."
    )
    title = f"{block.title}: item correlations in the last layer"
    return [Drawing(f"{block.slug}_correlations", title, caption, figure)]


def near(maps: np.ndarray, lengths: np.ndarray) -> float:
    """Return the weight of a row on its own item and those near it, averaged over rows."""
    shares = []
    for correlations, length in zip(maps, lengths, strict=True):
        position = np.arange(length)
        band = np.abs(position[:, None] - position) <= NEAR
        shares.append((correlations[:length, :length] * band).sum(1))
    return float(np.concatenate(shares).mean())
