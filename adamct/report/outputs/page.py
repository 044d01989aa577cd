"""The report as one self-contained HTML file."""

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
    """A section of the page, for a study, a dataset or a search."""

    title: str
    subject: str
    """What it compares, in a few words."""
    parts: Sequence[Table | Drawing]
    facts: Sequence[tuple[str, str]]
    """The origin of its numbers, as names and values."""
    banner: str = ""
    """What to know before its numbers are read; empty for nothing."""

    @property
    def heading(self) -> str:
        """The title and the subject."""
        return f"{self.title[:1].upper()}{self.title[1:]}: {self.subject}"


def page(
    title: str,
    folders: str,
    status: str,
    sections: Sequence[Section],
    runs: Sequence[Run],
    missing: Sequence[tuple[str, ...]],
    damages: Sequence[str],
) -> str:
    """Fill the template.

    Args:
        title: the title of the page.
        folders: the folders that were read.
        status: the number of runs of each status, in one line.
        sections: the sections in order.
        runs: all runs, of any status.
        missing: the overrides of each planned job that has not started.
        damages: a message for each file that could not be used: what is wrong with it, and what to do.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("adamct.report.outputs") / "page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        folders=folders,
        status=status,
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        commits=distinct(run.results.get("git_commit") for run in runs if run.results),
        sections=[(section, [template_part(part, section.title) for part in section.parts]) for section in sections],
        failed=[run for run in runs if run.status == "failed"],
        unfinished=[run for run in runs if run.status == "unfinished"],
        missing=[" ".join(job) for job in missing],
        damages=damages,
    )


def template_part(part: Table | Drawing, section: str) -> dict[str, Any]:
    """Return the variables of the template for a table or a figure, whose title begins with its section's."""
    title = part.title.removeprefix(f"{section}: ")
    if isinstance(part, Table):
        return {"table": part, "title": title[:1].upper() + title[1:]}
    return {"figure": Markup(inline(part.svg)), "title": title[:1].upper() + title[1:], "caption": part.caption}


def distinct(values: Iterable[str | None]) -> str:
    """Join the distinct values; None and empty ones are left out."""
    return "; ".join(dict.fromkeys(value for value in values if value))
