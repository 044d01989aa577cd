"""``python -m docs.generate.readme``: write the table of results into README.md, as the record has it."""

import argparse
import re
from pathlib import Path

from docs.generate.results import ROOT, result_table

README = ROOT / "README.md"
PLACE = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.S)
"""The text between the comments around a table, whose first comment names the dataset."""


def main() -> None:
    """Write the table, and say whether it changed."""
    argparse.ArgumentParser("python -m docs.generate.readme", description=__doc__).parse_args()
    text = README.read_text()
    README.write_text(with_tables(text))
    print(f"{README.relative_to(Path.cwd())}: {'changed' if with_tables(text) != text else 'as it was'}")


def with_tables(text: str) -> str:
    """Return a text with the table of results between its comments."""
    return PLACE.sub(lambda match: f"{match[1]}{result_table(match[2])}\n{match[3]}", text)


if __name__ == "__main__":
    main()
