"""A histogram as a picture, for loggers that have pictures only."""

import torch
from jaxtyping import Float
from torch import Tensor

BINS, WIDTH, HEIGHT, TEXT = 64, 512, 128, 24


def svg(values: Float[Tensor, " U"]) -> str:
    """Draw a histogram of some values as SVG, with the smallest and the largest value below it."""
    values = values.detach().float().cpu()
    low, high = values.min().item(), values.max().item()
    counts = torch.histc(values, BINS, low, high)
    heights = (counts / counts.max() * HEIGHT).tolist()
    bars = "".join(
        f'<rect x="{place * WIDTH / BINS:g}" y="{HEIGHT - height:.1f}" width="{WIDTH / BINS - 1:g}" '
        f'height="{height:.1f}" fill="#1f77b4"/>'
        for place, height in enumerate(heights)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT + TEXT}" '  # for MLflow
        f'viewBox="0 0 {WIDTH} {HEIGHT + TEXT}" font-family="sans-serif">{bars}'
        f'<text x="0" y="{HEIGHT + 18}">{low:.4g}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 18}" text-anchor="end">{high:.4g}</text></svg>\n'
    )
