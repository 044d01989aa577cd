"""Which libraries may be imported where."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DRAWING = re.compile(r"\s*(import|from) (matplotlib|scipy|jinja2|markupsafe|PIL)\b")
"""Libraries that only a report needs."""
INTERNALS = re.compile(r"\s*(import|from) wandb\.")


def lines(folder: str) -> Iterator[tuple[Path, str]]:
    for path in (ROOT / folder).rglob("*.py"):
        yield from ((path, line) for line in path.read_text().splitlines())


def test_a_run_does_without_what_only_reports_need() -> None:
    folders = ("adamct", "datamodules", "hydra_plugins")
    importers = {path for folder in folders for path, line in lines(folder) if DRAWING.match(line)}
    assert importers
    assert all(path.is_relative_to(ROOT / "adamct" / "report") for path in importers)


def test_weights_and_biases_is_used_by_its_public_interface() -> None:
    assert not {
        path for folder in ("adamct", "hydra_plugins", "tests") for path, line in lines(folder) if INTERNALS.match(line)
    }
