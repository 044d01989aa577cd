"""``python -m docs.generate.tables``: write the tables of the record into the documents that show them."""

import argparse
import re
from collections.abc import Callable

from docs.generate.results import (
    DATASETS,
    ROOT,
    loss_tables,
    paper_table,
    record_table,
    result_table,
    results,
    training_table,
)

DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "reports" / "README.md")
PLACE = re.compile(r"(<!-- ([\w ]+) -->\n)(.*?)(\n<!-- end -->)", re.S)
"""A table between two comments, the first of which names it."""


def main() -> None:
    """Write the tables, and say which documents changed."""
    argparse.ArgumentParser("python -m docs.generate.tables", description=__doc__).parse_args()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        document.write_text(with_tables(text), encoding="utf-8")
        print(f"{document.relative_to(ROOT)}: {'changed' if with_tables(text) != text else 'as it was'}")


def with_tables(text: str) -> str:
    """Return a text with the tables of the record between their comments."""
    return PLACE.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}{match[4]}", text)


def of_each_dataset(table: Callable[[str], str]) -> str:
    """Return a table of each dataset, below its title."""
    return "\n\n".join(f"### {DATASETS[dataset]}\n\n{table(dataset)}" for dataset in results())


TABLES: dict[str, Callable[[], str]] = {
    "record": record_table,
    "results of Beauty": lambda: result_table("beauty"),
    "results": lambda: of_each_dataset(result_table),
    "table 2": lambda: of_each_dataset(paper_table),
    "training": lambda: of_each_dataset(training_table),
    "losses": lambda: "\n\n".join(loss_tables().values()),
}
"""The tables that a comment can name."""


if __name__ == "__main__":
    main()
