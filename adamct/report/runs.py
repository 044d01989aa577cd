"""The runs below some folders: what each was, how far it came, what it left."""

import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import yaml
from jaxtyping import Integer
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adamct.errors import InputError, require
from adamct.keys import flat
from adamct.run_folder import RANKS

FACTS = ("target_count", "history_len")
"""The arrays of a test that are no ranks; see `adamct.batch.TestFacts`."""

Status = Literal["finished", "pruned", "failed", "unfinished"]


@dataclass(frozen=True, eq=False)
class Run:
    """A run as its folder tells it.

    Attributes:
        folder: where it lies.
        status: finished; pruned (a search stopped it early); failed (it left an ``error.txt``); or unfinished.
        choices: the chosen name of each config group.
        config: every key of the config, dotted; lists are values.
        overrides: what its job was given on the command line.
        results: its ``results.json``, empty unless it finished or was pruned.
        error: the last line of its ``error.txt``.
    """

    folder: Path
    status: Status
    choices: dict[str, str | None]
    config: dict[str, Any]
    overrides: tuple[str, ...]
    results: dict[str, Any]
    error: str

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.name_of("dataset")

    @property
    def model(self) -> str:
        """The model's name."""
        return self.name_of("model")

    @property
    def seed(self) -> int | None:
        """Of all its randomness; None where its config cannot be read."""
        return self.config.get("seed")

    @property
    def label(self) -> str | None:
        """What its variant is to be called."""
        return self.config.get("label")

    @property
    def cut_short(self) -> bool:
        """Whether its training is not known to have stopped by itself, before a limit of epochs, steps or time."""
        return self.results.get("ended_by") not in ("patience", "nothing to train")

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of validation with the chosen weights, and of the test if the run was tested."""
        return self.results.get("metrics", {})

    @property
    def ranks(self) -> dict[str, Integer[np.ndarray, " U"]]:
        """The rank of each user's test item, by ranking: from 1, or 0 without one. Empty if the run was not tested.

        Raises:
            InputError: the file cannot be read.
        """
        return {name: values for name, values in self.tested.items() if name not in FACTS}

    @property
    def facts(self) -> dict[str, Integer[np.ndarray, " U"]]:
        """The facts of each user's test item, by their names; empty where the run did not record them.

        Raises:
            InputError: the file cannot be read.
        """
        return {name: values for name, values in self.tested.items() if name in FACTS}

    @cached_property
    def tested(self) -> dict[str, Integer[np.ndarray, " U"]]:
        """The arrays that the run's test recorded of each user; empty where the run was not tested."""
        return self.arrays(RANKS) if self.status == "finished" else {}

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """What the run wrote to one of its ``.npz`` files; empty where there is none.

        Raises:
            InputError: the file cannot be read.
        """
        path = self.folder / name
        if not path.exists():
            return {}
        try:
            with np.load(path) as found:
                return {key: found[key] for key in found.files if key != "allow_pickle"}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: cannot be read ({error}); test the run again") from error

    def name_of(self, group: str) -> str:
        """The chosen name of a config group, else the class the config names there."""
        return self.choices.get(group) or str(self.config.get(f"{group}._target_", "?")).rpartition(".")[2]


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """Read every run below some folders, in the order of their paths.

    Raises:
        InputError: there is none, or one of the records cannot be read.
    """
    found = {path.resolve(): path for folder in folders for path in visited(folder) if holds_run(path)}
    require(bool(found), f"no run (a folder with config.yaml) below {', '.join(map(str, folders))}")
    return [read_run(found[path]) for path in sorted(found)]


def find_sweeps(folders: Sequence[Path]) -> list[Path]:
    """Every folder of a sweep, which holds Hydra's ``multirun.yaml``, below some folders."""
    found = {
        path.resolve(): path for folder in folders for path in visited(folder) if (path / "multirun.yaml").exists()
    }
    return [found[path] for path in sorted(found)]


def is_search(sweep: Path) -> bool:
    """Whether a sweep's jobs were drawn from a study, which is kept somewhere."""
    sweeper = read_yaml(sweep / "multirun.yaml")["hydra"]["sweeper"]
    return "study_name" in sweeper and sweeper["storage"] is not None


def visited(folder: Path) -> Iterator[Path]:
    """A folder and those below it, but for hidden ones, W&B's, and what lies within a run."""
    for path, below, _ in os.walk(folder):
        yield Path(path)
        others = [name for name in below if not name.startswith(".") and name != "wandb"]
        below[:] = [] if holds_run(Path(path)) else others


def holds_run(folder: Path) -> bool:
    """Whether a folder is a run's; one that has just started has Hydra's folder before its own config."""
    return (folder / "config.yaml").exists() or (folder / ".hydra" / "overrides.yaml").exists()


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        InputError: ``results.json`` is there and is not the record of a run.
    """
    record, failure = folder / "results.json", folder / "error.txt"
    overrides = tuple(map(str, read_yaml(folder / ".hydra" / "overrides.yaml") or ()))
    if record.exists():
        results = read_record(record)
        status: Status = "pruned" if results.get("pruned") else "finished"
        choices = results.get("choices") or hydra_choices(folder)
        config = flat(results["config"]) | {"seed": results["seed"]}
        return Run(folder, status, choices, config, overrides, results, "")
    lines = failure.read_text(errors="replace").strip().splitlines() if failure.exists() else []
    status = "failed" if failure.exists() else "unfinished"
    error = lines[-1].strip() if lines else ""
    return Run(folder, status, hydra_choices(folder), read_config(folder), overrides, {}, error)


def read_record(path: Path) -> dict[str, Any]:
    """A ``results.json`` that has what a report needs of it."""
    try:
        results = json.loads(path.read_text())
        _ = results["metrics"].items(), results["config"].items(), results["cost"].items(), results["seed"]
        _ = results["identity"].items()
        _ = [results["dataset"][key] for key in ("sha256", "num_users", "num_items")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else error
        raise InputError(f"{path}: not the record of a run ({why}); remove it or run again") from error
    return results


def hydra_choices(folder: Path) -> dict[str, str | None]:
    """The config groups' choices that Hydra noted when the job began."""
    noted = read_yaml(folder / ".hydra" / "hydra.yaml") or {}
    return noted.get("hydra", {}).get("runtime", {}).get("choices", {})


def read_config(folder: Path) -> dict[str, Any]:
    """The dotted keys of a run's own ``config.yaml``, as far as they can be resolved outside of the run."""
    config = OmegaConf.create(read_yaml(folder / "config.yaml") or {})
    config.output_dir = str(folder)
    try:
        return flat(cast(dict[str, Any], OmegaConf.to_container(config, resolve=True)))
    except OmegaConfBaseException:
        return flat(cast(dict[str, Any], OmegaConf.to_container(config)))


def read_yaml(path: Path) -> Any:
    """A YAML file's content, None where there is none or it is being written."""
    try:
        return yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError):
        return None
