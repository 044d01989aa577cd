"""``python -m benchmarks.record FOLDER...``: copy finished runs into the record of results.

A run's address is ``<dataset>/<variant>/<seed>``; for a run of a study (a sweep of ``conf/sweep``), the study
comes first. A study's ``multirun.yaml`` has the order of its labels, which its report needs.

``--restore`` copies the other way: it gives `benchmarks/record.sh` the runs that it need not make again.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import ListConfig

from adamct.errors import InputError, require
from adamct.identity import SOURCE, differences, named, omit
from adamct.report.inputs.names import file_names
from adamct.report.inputs.runs import Run, Sweep, find_runs, find_sweeps
from adamct.report.inputs.variants import WITHOUT_EFFECT
from adamct.runs.folder import FACTS, RANKS, RESULTS, write_arrays, write_whole
from adamct.sweeps.folders import job_name

PLACES = ("data_dir", "output_dir", "logger", "dataset.cache_dir", "dataset.download.folder", "dataset.folder", *SOURCE)
"""The keys that name folders and files of one machine, which the record leaves out."""
IN_ADDRESS = ("dataset", "model", "sweep", "label")
"""The overrides that the other parts of an address say."""
FIXED = ("threads", "sweep")
"""The recorded overrides that every sweep of `benchmarks/record.sh` keeps fixed."""


def main() -> None:
    """Parse the command line, copy the runs, and print what was copied."""
    parser = argparse.ArgumentParser("python -m benchmarks.record", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path, help="a folder of sweeps or of runs")
    parser.add_argument("--into", metavar="FOLDER", type=Path, default=Path("reports/runs"), help="the record")
    parser.add_argument(
        "--restore", metavar=("DATA", "OUT"), nargs=2, type=Path, help="copy the record into the folder of record.sh"
    )
    arguments = parser.parse_args()
    if arguments.restore:
        print(f"{len(restore(arguments.into, *arguments.restore))} runs restored from {arguments.into}")
        return
    if not arguments.folders:
        parser.error("give a FOLDER of sweeps or of runs")
    try:
        copied, left_out = copy(arguments.folders, arguments.into)
    except InputError as error:
        sys.exit(f"error: {error}")
    print("\n".join([*(f"copied: {path}" for path in copied), *(f"left out: {line}" for line in left_out)]))
    size = sum(path.stat().st_size for path in arguments.into.rglob("*") if path.is_file())
    print(f"{len(copied)} copied, {arguments.into}: {size / 1e6:.2f} MB")


def copy(folders: Sequence[Path], record: Path) -> tuple[list[Path], list[str]]:
    """Copy each finished run below some folders to its address in the record.

    Returns:
        The addresses whose content changed, and the folder and status of each run that is not finished.

    Raises:
        InputError: two runs have one address, or an address holds another run. Nothing is written then.
    """
    runs = find_runs(folders)
    finished = [run for run in runs if run.status == "finished"]
    addresses: dict[Path, Run] = {}
    for run in finished:
        address = record / address_of(run)
        require(
            address not in addresses,
            f"{run.folder} and {addresses.get(address, run).folder} both belong in {address}: leave out one",
        )
        require_same_run(address, run)
        addresses[address] = run
    changed = [address for address, run in addresses.items() if write_run(address, run)]
    for sweep in find_sweeps(folders):
        for study in dict.fromkeys(run.choices.get("sweep") for run in finished if sweep.folder in run.folder.parents):
            if study is not None:
                write(record / study / "multirun.yaml", yaml.safe_dump(planned_jobs(sweep)).encode())
    return changed, [f"{run.folder} ({run.status}) {run.error}".strip() for run in runs if run not in finished]


def restore(record: Path, data: Path, out: Path) -> list[Path]:
    """Copy each run of the record to its job's folder below the folder of `benchmarks/record.sh`.

    The config of the copy has the path of the data, so that `run.py` sees that the run has finished. A folder that
    exists stays as it is.

    Returns:
        The folders that were written.
    """
    restored: list[Path] = []
    for path in sorted(record.rglob(RESULTS)):
        results = json.loads(path.read_text(encoding="utf-8"))
        study, dataset = (results["choices"].get(group) for group in ("sweep", "dataset"))
        fixed = FIXED if study else (*FIXED, "dataset")
        folder = out / (study or dataset) / job_name(ListConfig(results["overrides"]), fixed)
        if not folder.exists():
            shutil.copytree(path.parent, folder)
            results["config"]["dataset"]["path"] = str(data / f"{dataset}.txt")
            write(folder / RESULTS, json.dumps(results).encode())
            restored.append(folder)
    return restored


def address_of(run: Run) -> Path:
    """Return the address of a run within the record."""
    study = run.choices.get("sweep")
    differing = [override for override in run.overrides if differs(override)]
    parts = [run.model, run.label] if run.label else [run.model, *differing]
    dataset, variant = (file_names([name])[0] for name in (run.dataset, " ".join(parts)))
    return Path(*([study] if study else []), dataset, variant, str(run.seed))


def differs(override: str) -> bool:
    """Return whether an override tells a variant from others of its model."""
    return not named(key_of(override), (*WITHOUT_EFFECT, *IN_ADDRESS))


def key_of(override: str) -> str:
    """Return the key of an override of the command line."""
    return OverridesParser.create().parse_override(override).get_key_element().lstrip("+~")


def require_same_run(address: Path, run: Run) -> None:
    """Refuse to replace a run of the record by another one.

    Raises:
        InputError: the run at the address has another identity or commit.
    """
    if not (address / RESULTS).exists():
        return
    held = json.loads((address / RESULTS).read_text(encoding="utf-8"))
    for key, before, now in differences(held["identity"], run.results["identity"]):
        raise InputError(f"{run.folder}: {key}={now}, but {before} in {address}; remove that folder to replace it")
    before, now = held.get("git_commit"), run.results.get("git_commit")
    require(before == now, f"{run.folder}: commit {now}, but {before} in {address}; remove that folder to replace it")


def write_run(address: Path, run: Run) -> bool:
    """Write a run to its address, and facts into the dataset's folder. Return whether the run changed."""
    changed = write(address / RESULTS, json.dumps(compact(run.results), separators=(",", ":")).encode() + b"\n")
    ranks = run.folder / RANKS
    changed |= ranks.exists() and write(address / RANKS, ranks.read_bytes())
    if facts := run.arrays.get(FACTS):
        write_facts(address, facts)
    return changed


def compact(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without `PLACES`, whose history has only those validation metrics that chose weights."""
    monitors = {chosen["monitor"] for chosen in results.get("chosen", {}).values()} | {results["config"]["monitor"]}
    history = results.get("history", {}).items()
    kept = {key: values for key, values in history if not key.startswith("val/") or key in monitors}
    config = omit(results["config"], PLACES)
    return {**results, "config": config, "overrides": without_places(results["overrides"]), "history": kept}


def planned_jobs(sweep: Sweep) -> dict[str, Any]:
    """Return those keys of a sweep's ``multirun.yaml`` that tell its jobs, without `PLACES`."""
    hydra = sweep.config["hydra"]
    sweeper = dict(hydra["sweeper"])
    if sweeper.get("jobs"):  # of listed cases
        sweeper["jobs"] = [without_places(job) for job in sweeper["jobs"]]
    return {"hydra": {"sweeper": sweeper, "overrides": {"task": without_places(hydra["overrides"]["task"])}}}


def without_places(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of other keys than `PLACES`."""
    return [override for override in overrides if not named(key_of(override), PLACES)]


def write_facts(address: Path, facts: Mapping[str, Any]) -> None:
    """Write facts into the dataset's folder, or beside the run if that folder has the facts of other test items."""
    for path in (address.parents[1] / FACTS, address / FACTS):
        if not path.exists():
            write_arrays(path, facts)
            return
        with np.load(path) as held:
            if all(np.array_equal(held[name], values) for name, values in facts.items()):
                return


def write(path: Path, content: bytes) -> bool:
    """Write a file as a whole, unless it has this content. Return whether it was written."""
    if path.exists() and path.read_bytes() == content:
        return False
    write_whole(path, content)
    return True


if __name__ == "__main__":
    main()
