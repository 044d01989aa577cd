"""The report as one HTML file that needs nothing else."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment
from markupsafe import Markup

from adamct.report.inputs.runs import Run
from adamct.report.outputs.drawing import Drawing, inline
from adamct.report.outputs.table import Table


class Section(NamedTuple):
    """A part of the page: a dataset's or a search's."""

    title: str
    parts: Sequence[Table | Drawing]
    facts: Sequence[tuple[str, str]]
    """How its numbers were made, as names and values."""


def page(
    title: str,
    status: str,
    sections: Sequence[Section],
    runs: Sequence[Run],
    missing: Sequence[tuple[str, ...]],
    damages: Sequence[str],
) -> str:
    """Fill the template.

    Args:
        title: the page's.
        status: how many runs came how far, in a line.
        sections: in order.
        runs: of any status.
        missing: the overrides of the planned jobs that have not started.
        damages: of each file that could not be used, what is wrong with it and what to do.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("adamct.report.outputs") / "page.html.jinja").read_text())
    return template.render(
        title=title,
        status=status,
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        commits=distinct(run.results.get("git_commit") for run in runs if run.results),
        sections=[(title, facts, [shown(part) for part in parts]) for title, parts, facts in sections],
        failed=[run for run in runs if run.status == "failed"],
        unfinished=[run for run in runs if run.status == "unfinished"],
        missing=[" ".join(job) for job in missing],
        damages=damages,
    )


def shown(part: Table | Drawing) -> dict[str, Any]:
    """Return a table or figure as the template takes it."""
    if isinstance(part, Table):
        return {"table": part, "title": part.title.partition(": ")[2]}
    return {"figure": drawn(part.svg), "title": part.title.partition(": ")[2], "caption": part.caption}


def drawn(svg: bytes) -> Markup:
    """Return a figure's file as an element of the page."""
    return Markup(inline(svg))


def distinct(values: Iterable[str | None]) -> str:
    """Join the different values, each once."""
    return "; ".join(dict.fromkeys(value for value in values if value))
