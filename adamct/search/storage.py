"""Optuna's storages, studies and trials, also from other processes. Needs the extra [search]."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from adamct.errors import InputError, on_one_line, require
from adamct.randomness import Stream, short_seed_of

SEARCH = "search"
"""The attribute of a study that holds the config that its trials share, and the search space."""
EXHAUSTED = "exhausted"
"""The attribute of a study whose sampler has drawn every point of a finite space."""
SQLITE_PREFIX = "sqlite:///"
"""The prefix of the URL of a database that is a file."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(storage: str | None) -> BaseStorage:
    """Open a storage of studies.

    Args:
        storage: a database's URL (``sqlite:///study.db``), or the path of a journal file; None for this process'
            memory. Many processes can share a journal file on any disk.

    Raises:
        InputError: the storage cannot be read.
    """
    if storage is None:
        return InMemoryStorage()
    path = storage_file(storage)
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        return RDBStorage(storage) if "://" in storage else JournalStorage(open_journal(Path(storage).absolute()))
    except Exception as error:  # databases and damaged files raise many types
        reason = f"{type(error).__name__}: {on_one_line(error)}"
        raise InputError(
            f"hydra.sweeper.storage={storage}: cannot be read ({reason}); move it away, or give another"
        ) from error


def storage_file(storage: str) -> Path | None:
    """Return the file of a storage; None if the storage is on a server."""
    return None if "://" in storage.removeprefix(SQLITE_PREFIX) else Path(storage.removeprefix(SQLITE_PREFIX))


def open_journal(path: Path) -> JournalFileBackend:
    """Open a journal, and remove its last line if a killed process left it incomplete.

    The lock is a lock of the operating system, which releases it when a process is killed.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with lock:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if lines and not lines[-1].endswith(b"\n"):
            os.truncate(path, sum(map(len, lines[:-1])))
        elif lines:
            json.loads(lines[-1])  # Optuna would skip a line that is not JSON, and append to the file
    return JournalFileBackend(str(path), lock)  # pyright: ignore[reportArgumentType]  # it has the methods that Optuna needs


def default_study_name(folder: Path, storage: str | None) -> str:
    """Return a name for a sweep's study that no other sweep uses in the same storage.

    The name does not depend on the folder if the storage is in the folder. Both can then be moved together.

    Args:
        folder: the sweep's folder.
        storage: see `open_storage`.
    """
    path = None if storage is None else storage_file(storage)
    in_folder = path is not None and path.resolve().is_relative_to(folder.resolve())
    return "search" if in_folder else str(folder.resolve())


def open_study(name: str, storage: BaseStorage, pruner: BasePruner | None, search: Mapping[str, Any]) -> optuna.Study:
    """Load a study, or create it if the storage does not have it.

    Args:
        name: the study's name in the storage.
        storage: the storage.
        pruner: prunes trials; None prunes no trial, while Optuna's own default is a pruner.
        search: the config that the trials share and the search space, by dotted keys.

    Raises:
        InputError: the study has trials of another search.
    """
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        pruner=pruner or NopPruner(),
        direction="maximize",
        load_if_exists=True,
    )
    now = json.loads(json.dumps(search))  # the form in which a storage returns it
    if not study.get_trials(deepcopy=False):
        study.set_user_attr(SEARCH, now)
    before = study.user_attrs.get(SEARCH, {})
    for key in sorted(before.keys() | now.keys()):
        require(
            before.get(key) == now.get(key),
            f"the study {name} has trials with {key}={before.get(key)}, but this search has {key}={now.get(key)}: "
            "give the overrides that it began with, or another hydra.sweep.dir",
        )
    return study


def continued_seed(seed: int, num_trials: int) -> int:
    """Return a sampler's seed for a study that has trials. With its first seed the sampler would draw them again."""
    return seed if num_trials == 0 else short_seed_of(seed, Stream.CONTINUED_SEARCH, num_trials)


def load_trial(storage: str, study_name: str, number: int, pruner: BasePruner | None) -> Trial:
    """Load a trial that another process draws and finishes, to report its scores. Without a pruner it is not pruned."""
    study = optuna.load_study(study_name=study_name, storage=open_storage(storage), pruner=pruner or NopPruner())
    return open_trial(study, study.get_trials(deepcopy=False)[number])


def open_trial(study: optuna.Study, trial: FrozenTrial) -> Trial:
    """Return a stored trial in a form that can draw and report. It keeps its values and scores."""
    return Trial(study, trial._trial_id)


def finish_trial(study: optuna.Study, trial: Trial, score: float) -> None:
    """Record that a trial is complete, that it was pruned, or that it failed because its score is not finite.

    Also record if the sampler has drawn every point of a finite space.
    """
    if study.get_trials(deepcopy=False)[trial.number].user_attrs.get("pruned"):
        state = TrialState.PRUNED
    elif np.isfinite(score):
        state = TrialState.COMPLETE
    else:
        state = TrialState.FAIL
    try:
        study.tell(trial, score if state == TrialState.COMPLETE else None, state=state)
    except RuntimeError as error:  # samplers of finite spaces call Study.stop, which fails outside of Study.optimize
        if "Study.stop" not in str(error):
            raise
        study.set_user_attr(EXHAUSTED, True)
