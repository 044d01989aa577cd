"""The hooks of MkDocs: they add the pages that are made from the repository, and their places in the navigation."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from adamct.report.inputs.titles import model_title
from docs.generate.groups import address, group_pages
from docs.generate.metrics import metric_page
from docs.generate.models import model_pages
from docs.generate.notebook import notebook_page
from docs.generate.results import DATASETS, loss_tables, result_table, results
from docs.generate.yamls import ROOT, groups

COPIES = {
    "concepts/config.md": "conf/README.md",
    "benchmarks.md": "benchmarks/README.md",
    "reports/index.md": "reports/README.md",
    "reports/claims.md": "reports/claims.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
"""The documents of other folders that are pages too, by their addresses."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the navigation of the reference."""
    models = [page for page in model_pages() if not page.endswith("index.md")]
    nav = config.nav or []
    fill(nav, "Models", [{model_title(Path(page).stem): page} for page in models])
    fill(nav, "Config", [{group: address(group)} for group in groups()])
    return config


def fill(nav: list, title: str, pages: list) -> None:
    """Add pages to the section of a title, wherever it is in the navigation."""
    for entry in nav:
        for name, inner in entry.items() if isinstance(entry, dict) else ():
            if name == title:
                inner += pages
            elif isinstance(inner, list):
                fill(inner, title, pages)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, the copied documents, and the pictures and pages of the studies."""
    pages = {
        **group_pages(),
        **model_pages(),
        "reference/metrics.md": metric_page(),
        "notebook.md": notebook_page(ROOT / "docs" / "start.ipynb"),
        **{page: copied(source) for page, source in COPIES.items()},
    }
    for page, content in pages.items():
        files.append(File.generated(config, page, content=content))
    for path in sorted([*(ROOT / "reports").glob("*.png"), *(ROOT / "reports").glob("*.html")]):
        files.append(File.generated(config, f"reports/{path.name}", abs_src_path=str(path)))
    for name in ("report.png", "compare.png", "wandb.png"):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / ".github" / name)))
    return files


def copied(source: str) -> str:
    """Return a document with the links to pages of this site as they are here."""
    return (ROOT / source).read_text().replace("](docs/", "](").replace("](../docs/", "](../")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace ``<!-- results -->`` by the tables of results, and ``<!-- losses -->`` by those of the losses."""
    markdown = re.sub("<!-- results -->", lambda _: all_results(), markdown)
    return re.sub("<!-- losses -->", lambda _: "\n\n".join(map(unbroken, loss_tables().values())), markdown)


def all_results() -> str:
    """Return the table of results of each dataset, below its title."""
    return "\n\n".join(f"### {DATASETS[dataset]}\n\n{unbroken(result_table(dataset))}" for dataset in results())


def unbroken(table: str) -> str:
    """Return a table whose pairs of numbers stay on one line."""
    return re.sub(r"(?<=\d) ([/±]) ", "&nbsp;\\1&nbsp;", table)
