"""The results of a sweep's runs."""

import json
from pathlib import Path
from typing import Any


def read_results(folder: Path) -> dict[str, Any]:
    """Read the results of a run's folder."""
    return json.loads((folder / "results.json").read_text())


def results_below(folder: Path) -> dict[str, dict[str, Any]]:
    """Read all results below a folder, by the names of the runs' folders."""
    return {path.parent.name: read_results(path.parent) for path in sorted(folder.rglob("results.json"))}
