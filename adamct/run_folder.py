"""What the folder of a run says of its end, for whoever gives the command again. Imports nothing that takes long."""

import json
import traceback
from pathlib import Path
from typing import Any

from adamct.processes import is_first

RESULTS, ERROR = "results.json", "error.txt"


def finished_before(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """The results that a run of the same config left in this folder, if one has finished there."""
    path = folder / RESULTS
    results = json.loads(path.read_text()) if path.exists() else {}
    same = {**results.get("config", {}), "output_dir": config["output_dir"]} == config  # the folder may have moved
    return results if same else None


def write_first(path: Path, text: str) -> None:
    """Write a file of the run's folder from the first of its processes."""
    if is_first():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def record_failure(folder: Path, error: BaseException) -> None:
    """Leave the traceback of what ended a run in its folder; `finished_before` and the report look for it."""
    write_first(folder / ERROR, "".join(traceback.format_exception(error)))
