"""What the folder of a run says of its end, for whoever gives the command again. Imports nothing that takes long."""

import json
import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamct.processes import is_first

if TYPE_CHECKING:
    import numpy as np

RESULTS, RANKS, ERROR = "results.json", "ranks.npz", "error.txt"
COEFFICIENTS, CORRELATIONS = "coefficients.npz", "item_correlations.npz"
"""What `adamct.coefficients` and `adamct.item_correlations` write."""


def finished_before(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """The results that a run of the same config left in this folder, if one has finished there."""
    path = folder / RESULTS
    results = json.loads(path.read_text()) if path.exists() else {}
    same = {**results.get("config", {}), "output_dir": config["output_dir"]} == config  # the folder may have moved
    return results if same else None


def write_first(path: Path, text: str) -> None:
    """Write a file of the run's folder from the first of its processes, whole or not at all."""
    if is_first():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}")
        partial.write_text(text)
        os.replace(partial, path)


def write_arrays(path: Path, arrays: "Mapping[str, np.ndarray]") -> None:
    """Write a compressed ``.npz``, whole or not at all."""
    import numpy as np

    partial = path.with_name(f".{path.name}")
    np.savez_compressed(partial, allow_pickle=False, **arrays)
    os.replace(partial, path)


def record_failure(folder: Path, error: BaseException) -> None:
    """Leave the traceback of what ended a run in its folder; `finished_before` and the report look for it."""
    write_first(folder / ERROR, "".join(traceback.format_exception(error)))
