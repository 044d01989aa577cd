"""The hooks of MkDocs: they add the pages that are made from the repository, and their places in the navigation."""

import re
from os.path import normpath, relpath
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from adamct.report.inputs.titles import model_title
from docs.generate.groups import address, group_pages
from docs.generate.metrics import metric_page
from docs.generate.models import model_pages
from docs.generate.notebook import notebook_page
from docs.generate.tables import PLACE
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
PICTURES = ("report.png", "compare.png", "wandb.png")
"""The pictures of `.github` that pages show."""
PAGES = {
    "docs/start.ipynb": "notebook.md",
    "conf": "reference/config/index.md",
    "adamct/models": "reference/models/index.md",
    "adamct/evaluation/metrics.py": "reference/metrics.md",
    **{f"conf/{group}": address(group) for group in groups()},
    **{f".github/{name}": name for name in PICTURES},
    **{source: page for page, source in COPIES.items()},
}
"""The addresses of the pages of files and folders outside `docs`. Documents link to these files and folders."""


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
        **{page: (ROOT / source).read_text(encoding="utf-8") for page, source in COPIES.items()},
    }
    for page, content in pages.items():
        files.append(File.generated(config, page, content=content))
    for path in sorted([*(ROOT / "reports").glob("*.png"), *(ROOT / "reports").glob("*.html")]):
        files.append(File.generated(config, f"reports/{path.name}", abs_src_path=str(path)))
    for name in PICTURES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / ".github" / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Point the links of a document to pages of this site, and keep the pairs of numbers in its tables on one line."""
    source = COPIES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    if not (ROOT / source).exists():  # a generated page, whose links are those of the site
        return markdown
    folder, here = Path(source).parent, Path(page.file.src_uri).parent

    def linked(match: re.Match[str]) -> str:
        path = normpath(folder / match[1])
        address = PAGES.get(path, path.removeprefix("docs/"))
        return f"]({relpath(address, here)}"

    markdown = re.sub(r"\]\((?!\w+:)([^)#\s]+)", linked, markdown)
    return PLACE.sub(lambda match: unbroken(match[3]), markdown)


def unbroken(table: str) -> str:
    """Return a table whose pairs of numbers stay on one line."""
    return re.sub(r"(?<=\d) ([/±]) ", "&nbsp;\\1&nbsp;", table)
