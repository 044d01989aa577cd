"""The files of a report. Each is written as a whole or not at all."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from adamct.errors import InputError
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.runs import Run
from adamct.report.inputs.variants import defining, varied
from adamct.runs.folder import write_whole


def write_all(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files into a folder, given their contents by file name.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        for name, content in contents.items():
            # A folder's name may hold bytes that are not valid UTF-8.
            in_bytes = content.encode(errors="backslashreplace") if isinstance(content, str) else content
            write_whole(folder / name, in_bytes)
    except OSError as error:
        raise InputError(
            f"{folder}: the report cannot be written there ({error.strerror}); give --out another folder"
        ) from error


def runs_csv(runs: Sequence[Run], blocks: Sequence[Block]) -> str:
    """Return a CSV with a row for each run: status, choices, seed, varied keys, metrics, cost, error and folder."""
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
    """Return a run's row of the CSV."""
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
    """Return the config keys in which runs of one model on one dataset differ."""
    peers: dict[tuple[str, str], list[dict[str, str]]] = {}
    for run in runs:
        if run.config:
            peers.setdefault((run.dataset, run.model), []).append(defining(run))
    return list(dict.fromkeys(key for traits in peers.values() for key in varied(traits)))
