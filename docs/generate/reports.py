"""``python -m docs.generate.reports``: write the report of the record, its pictures and the page of claims."""

import argparse
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from adamct.report.build import report
from adamct.report.outputs.render import markdown
from adamct.report.outputs.report import Report
from docs.generate.results import RECORD, ROOT

REPORTS = ROOT / "reports"
PICTURES = ("_claims", "beauty_dots")
"""The ends of the names of the figures that are also PNG files in ``reports/``."""
INTRODUCTION = """\
# Which of the paper's claims hold

Each claim compares two rows of a table or figure of the paper: AdaMCT, and another model or a variant of AdaMCT. It is
tested in all three rankings on the runs of the record, which train to early stopping.
`python -m docs.generate.reports` makes this page from `reports/runs`.
"""


def main() -> None:
    """Write the files, and print their names."""
    argparse.ArgumentParser("python -m docs.generate.reports", description=__doc__).parse_args()
    with TemporaryDirectory() as folder, chdir(ROOT):  # the paths on the page are then the same in every checkout
        written = report([RECORD.relative_to(ROOT)], Path(folder))
        pictures = {f"{one.name}.png": one.png for one in written.drawings if one.name.endswith(PICTURES)}
        files = {"report.html": (written.out / "report.html").read_bytes(), "claims.md": claims_page(written).encode()}
    for name, content in (files | pictures).items():
        (REPORTS / name).write_bytes(content)
        print(f"reports/{name}")


def claims_page(written: Report) -> str:
    """Return the page of claims in Markdown: the number of each verdict, and each study's figure and table."""
    drawings = {one.name: one for one in written.drawings}
    lines = [INTRODUCTION]
    for table in written.tables:
        if table.name.endswith("_claims"):
            drawing = drawings[table.name]
            lines += [f"## {table.title.partition(':')[0]}", "", f"![{drawing.title}]({drawing.name}.png)", ""]
            lines += [drawing.caption, ""]
        if table.name.endswith("claims"):
            lines.append(markdown(table))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
