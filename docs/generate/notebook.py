"""A notebook as Markdown, with the text that its cells printed."""

import json
import re
from pathlib import Path
from typing import Any

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""The codes of a terminal for bold and coloured text."""


def notebook_page(path: Path) -> str:
    """Return the Markdown of a notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in parts(cell))


def parts(cell: dict[str, Any]) -> list[str]:
    """Return the Markdown of a cell and of what it printed."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    printed = "".join(text for output in cell["outputs"] for text in printed_by(output)).rstrip()
    return [f"```python\n{source}\n```", *([f"```text\n{printed}\n```"] if printed else [])]


def printed_by(output: dict[str, Any]) -> list[str]:
    """Return the lines of an output."""
    lines = output.get("text") or output.get("data", {}).get("text/plain", [])
    return [COLOURS.sub("", line) for line in lines]
