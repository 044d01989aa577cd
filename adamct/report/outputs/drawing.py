"""A figure with its title and caption, as SVG, as PNG and as an element of the page."""

import re
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

from matplotlib.figure import Figure

from adamct.report.outputs.style import INK, styled

IN_TAG = "(?=[^<>]*>)"
"""The look-ahead of a match within a tag. It excludes matches in text."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with its title and caption.

    Attributes:
        name: its name in files and in W&B.
        title: the heading above it.
        caption: the text below it.
        figure: the figure itself.
    """

    name: str
    title: str
    caption: str
    figure: Figure

    @cached_property
    def svg(self) -> bytes:
        """The content of its SVG file."""
        return saved(self.figure, "svg")

    @cached_property
    def png(self) -> bytes:
        """The content of its PNG file."""
        return saved(self.figure, "png")


def saved(figure: Figure, kind: str) -> bytes:
    """Return a figure as SVG or PNG. The same figure gives the same bytes."""
    buffer = BytesIO()
    with styled():
        if (engine := figure.get_layout_engine()) is not None:  # lay it out once, and not at each of several draws
            engine.execute(figure)
            figure.set_layout_engine("none")
        metadata = {"Date": None} if kind == "svg" else {}
        background = "none" if kind == "svg" else "white"
        figure.savefig(buffer, format=kind, metadata=metadata, facecolor=background, bbox_inches="tight")
    return buffer.getvalue()


def inline(file: bytes) -> str:
    """Return an SVG file as an element of a page, without URLs and in the page's text colour."""
    svg = file.decode()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # Only within tags: a label may look like an attribute. Ids that are referred to are hashes, and stay.
    svg = re.sub(rf' id="[\w.]+_\d+"{IN_TAG}', "", svg)
    svg = re.sub(r'\s(?:xmlns(?::\w+)?|width|height)="[^"]*"', "", svg[: svg.index(">")]) + svg[svg.index(">") :]
    return re.sub(f"{INK}{IN_TAG}", "currentColor", svg)
