"""The files of a report, each written whole or not at all."""

import csv
import os
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from adamct.errors import InputError
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.runs import Run
from adamct.report.inputs.variants import defining, varied


def write_all(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files by their names into a folder.

    Raises:
        InputError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            partial = folder / f".{name}"
            # The name of a folder may hold bytes that are no text, which UTF-8 does not have.
            partial.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
            os.replace(partial, folder / name)
    except OSError as error:
        raise InputError(f"{folder}: the report cannot be written there ({error.strerror}); give --out") from error


def runs_csv(runs: Sequence[Run], blocks: Sequence[Block]) -> str:
    """Write a row for each run of any status: choices, seed, the keys that vary, all metrics, cost, folder."""
    names = {run.folder: variant.name for block in blocks for variant in block.variants for run in variant.runs}
    keys = varied_keys(runs)
    rows = [row(run, names.get(run.folder, ""), keys) for run in runs]
    last = ("error", "folder")
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in last]
    buffer = StringIO()
    writer = csv.DictWriter(buffer, [*columns, *last], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def row(run: Run, variant: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return a run's line of the CSV."""
    groups = {name: choice for name, choice in run.choices.items() if not name.startswith("hydra/")}
    defined = defining(run)
    return (
        {"status": run.status, "dataset": run.dataset, "model": run.model, "variant": variant, "seed": run.seed}
        | {name: choice for name, choice in groups.items() if name not in ("dataset", "model")}
        | {key: defined.get(key) for key in keys}
        | {f"chosen_epoch/{ranking}": chosen["epoch"] for ranking, chosen in run.results.get("chosen", {}).items()}
        | run.metrics
        | {f"cost/{key}": value for key, value in run.results.get("cost", {}).items()}
        | {"error": run.error, "folder": str(run.folder)}
    )


def varied_keys(runs: Sequence[Run]) -> list[str]:
    """Return the config keys by which runs of one model on one dataset differ."""
    peers: dict[tuple[str, str], list[dict[str, str]]] = {}
    for run in runs:
        if run.config:
            peers.setdefault((run.dataset, run.model), []).append(defining(run))
    return list(dict.fromkeys(key for traits in peers.values() for key in varied(traits)))
