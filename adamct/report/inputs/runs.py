"""The runs and sweeps below some folders: their configs, their status and their results."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Integer
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adamct.batch import TestFacts
from adamct.errors import InputError, require
from adamct.evaluation.names import Metric
from adamct.evaluation.storage import restored
from adamct.keys import flat
from adamct.report.inputs.arrays import Arrays, read_arrays
from adamct.report.inputs.names import label_of, printable, shortened
from adamct.report.inputs.record import CONFIG, JOB, MULTIRUN, OVERRIDES, RECORD, Record, damage, read
from adamct.runs.folder import ERROR, FACTS, RANKS, RESULTS

Status = Literal["finished", "pruned", "failed", "unfinished", "damaged"]


@dataclass(frozen=True, eq=False)
class Run:
    """A run, read from its folder.

    Attributes:
        folder: its folder.
        status: finished; pruned (a search stopped it early); failed (it left an ``error.txt``); unfinished; or damaged
            (one of its files cannot be read, or belongs to another run).
        choices: the chosen name of each config group.
        config: every value of the config by its dotted key; a list is one value.
        overrides: the overrides of its job on the command line.
        results: its ``results.json``, as `adamct.report.inputs.record.Record` describes it; empty unless it finished
            or was pruned.
        error: the last line of its ``error.txt``. For a damaged run: the file, what is wrong with it, and what to do.
        arrays: the arrays that its test wrote, by file name.
    """

    folder: Path
    status: Status
    choices: dict[str, str | None]
    config: dict[str, Any]
    overrides: tuple[str, ...]
    results: Mapping[str, Any]
    error: str
    arrays: dict[str, Arrays] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        """The name that the config gives its dataset, or else that of its choice."""
        return label_of(self.config.get("dataset.name")) or self.name_of("dataset")

    @property
    def model(self) -> str:
        """The model's name."""
        return self.name_of("model")

    @property
    def seed(self) -> int | None:
        """The seed of the run; None if its config has none."""
        seed = self.config.get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def label(self) -> str | None:
        """The name that the config gives its variant; None for the model's name."""
        return label_of(self.config.get("label"))

    @property
    def cut_short(self) -> bool:
        """Whether a limit of epochs, steps or time may have ended training before it stopped by itself."""
        return self.results.get("ended_by") not in ("patience", "nothing to train")

    @property
    def metrics(self) -> dict[str, float]:
        """The validation metrics of the chosen weights, and the test metrics if the run was tested."""
        return self.results.get("metrics", {})

    @property
    def tested(self) -> bool:
        """Whether it was tested."""
        return any(key.startswith("test/") for key in self.metrics)

    @cached_property
    def ranks(self) -> dict[str, Integer[np.ndarray, " U"]]:
        """The rank of each user's test item, by ranking: from 1, or 0 without a test item; empty without the file."""
        return restored(self.arrays.get(RANKS, {}))

    @cached_property
    def facts(self) -> dict[str, Integer[np.ndarray, " U"]]:
        """The facts of each user's test item, by their names; empty without the file. See `adamct.batch.TestFacts`."""
        arrays = self.arrays.get(FACTS, {})
        return {name: arrays[name] for name in TestFacts._fields if name in arrays}

    def can_test(self, metric: Metric) -> bool:
        """Return whether it has a metric of the test, and the ranks that the metric is computed from."""
        return str(metric) in self.metrics and metric.ranking in self.ranks

    def name_of(self, group: str) -> str:
        """Return the chosen name of a config group, or else the name of the class in the config."""
        name = self.choices.get(group) or str(self.config.get(f"{group}._target_", "?")).rpartition(".")[2]
        return shortened(printable(name))


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep, read from its folder.

    Attributes:
        folder: its folder.
        config: its ``multirun.yaml``, as `adamct.report.inputs.record.Multirun` describes it; empty if that is
            damaged or not written yet.
        error: the damaged file, what is wrong with it, and what to do; empty if nothing is damaged.
    """

    folder: Path
    config: Mapping[str, Any]
    error: str = ""

    @property
    def is_search(self) -> bool:
        """Whether its jobs are the trials of a stored study."""
        sweeper = self.config["hydra"]["sweeper"] if self.config else {}
        return "study_name" in sweeper and sweeper.get("storage") is not None


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """Read every run below some folders, sorted by path.

    Raises:
        InputError: a folder does not exist, or there are no runs below it.
    """
    folders_by_path: dict[Path, Path] = {}
    for folder in folders:
        below = {path.resolve(): path for path in visited(folder) if holds_run(path)}
        lack = "no run (a folder with config.yaml) below it" if folder.is_dir() else "there is no such folder"
        require(bool(below), f"{folder}: {lack}; give the folder of a sweep or of runs")
        folders_by_path |= below
    tops = [folder.resolve() for folder in folders]
    return [read_run(folders_by_path[path], tops) for path in sorted(folders_by_path)]


def find_sweeps(folders: Sequence[Path]) -> list[Sweep]:
    """Read every sweep below some folders. Its folder holds Hydra's ``multirun.yaml``."""
    folders_by_path = {
        path.resolve(): path for folder in folders for path in visited(folder) if (path / "multirun.yaml").exists()
    }
    return [read_sweep(folders_by_path[path]) for path in sorted(folders_by_path)]


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep's folder."""
    try:
        return Sweep(folder, read(folder / "multirun.yaml", MULTIRUN) or {})
    except InputError as error:
        return Sweep(folder, {}, str(error))


def visited(folder: Path) -> Iterator[Path]:
    """Yield a folder and its subfolders, except hidden ones, W&B's, and those within a run."""
    for path, subfolders, _ in os.walk(folder):
        yield Path(path)
        others = [name for name in subfolders if not name.startswith(".") and name != "wandb"]
        subfolders[:] = [] if holds_run(Path(path)) else others


def holds_run(folder: Path) -> bool:
    """Return whether a folder is a run's. A run that has just started has Hydra's folder before its own config."""
    return any((folder / name).exists() for name in ("config.yaml", RESULTS, ".hydra/overrides.yaml"))


def read_run(folder: Path, tops: Sequence[Path] = ()) -> Run:
    """Read a run's folder. If a file of it cannot be used, the run is damaged.

    Args:
        folder: the run's folder.
        tops: see `adamct.report.inputs.arrays.read_arrays`.
    """
    try:
        record: Record | None = read(folder / RESULTS, RECORD)
        return read_unrecorded(folder) if record is None else from_record(folder, record, tops)
    except InputError as error:
        run = Run(folder=folder, status="damaged", choices={}, config={}, overrides=(), results={}, error=str(error))
        with suppress(InputError):
            run = replace(run, choices=read_choices(folder))
        with suppress(InputError):
            run = replace(run, overrides=read_overrides(folder))
        return run


def from_record(folder: Path, record: Record, tops: Sequence[Path]) -> Run:
    """Make a finished or pruned run from its record and its arrays; see `read_run`.

    Raises:
        InputError: its arrays cannot be read, or belong to another run.
    """
    config = flat(cast(dict[str, Any], record["config"])) | {"seed": record["seed"]}
    status: Status = "pruned" if record.get("pruned") else "finished"
    arrays = read_arrays(folder, record, tops) if status == "finished" else {}
    return Run(
        folder=folder,
        status=status,
        choices=record["choices"],
        config=config,
        overrides=tuple(record["overrides"]),
        results=record,
        error="",
        arrays=arrays,
    )


def read_unrecorded(folder: Path) -> Run:
    """Read a run without a record from the files that were written when it began.

    Raises:
        InputError: one of these files cannot be read.
    """
    choices, overrides, config = read_choices(folder), read_overrides(folder), read_config(folder)
    failure = folder / ERROR
    if not failure.exists():
        return Run(
            folder=folder,
            status="unfinished",
            choices=choices,
            config=config,
            overrides=overrides,
            results={},
            error="",
        )
    try:
        lines = failure.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError as error:
        raise InputError(damage(failure, error.strerror or str(error))) from error
    return Run(
        folder=folder,
        status="failed",
        choices=choices,
        config=config,
        overrides=overrides,
        results={},
        error=printable(lines[-1]) if lines else "error.txt is empty",
    )


def read_choices(folder: Path) -> dict[str, str | None]:
    """Return the choices of the config groups, which Hydra writes down when the job begins."""
    job = read(folder / ".hydra" / "hydra.yaml", JOB)
    return job["hydra"]["runtime"]["choices"] if job else {}


def read_overrides(folder: Path) -> tuple[str, ...]:
    """Return the overrides of the job, which Hydra writes down when it begins."""
    return tuple(read(folder / ".hydra" / "overrides.yaml", OVERRIDES) or ())


def read_config(folder: Path) -> dict[str, Any]:
    """Return the values of a run's ``config.yaml`` by dotted key, unresolved if they need the running job."""
    content = (read(folder / "config.yaml", CONFIG) or {}) | {"output_dir": str(folder)}
    try:
        return flat(cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(content), resolve=True)))
    except OmegaConfBaseException:
        return flat(content)
