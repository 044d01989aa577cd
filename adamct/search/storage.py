"""Where the trials of a search are kept, and how other processes find them there. Needs the extra [search]."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from adamct.errors import InputError, on_one_line, require
from adamct.randomness import Stream, short_seed_of

SEARCH = "search"
"""The attribute of a study with the config that its trials share and what they draw."""
FILE = "sqlite:///"
"""What an URL begins with where the database is a file."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(storage: str | None) -> BaseStorage:
    """Open the place of studies.

    Args:
        storage: a database's URL (``sqlite:///study.db``), the path of a journal file, which many processes can share
            on any disk, or None for this process' memory.
    """
    if storage is None:
        return InMemoryStorage()
    path = file_of(storage)
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        return RDBStorage(storage) if "://" in storage else JournalStorage(open_journal(Path(storage).absolute()))
    except Exception as error:  # databases and files of something else are refused with all kinds
        why = f"{type(error).__name__}: {on_one_line(error)}"
        raise InputError(
            f"hydra.sweeper.storage={storage}: cannot be read ({why}); move it away, or give another"
        ) from error


def file_of(storage: str) -> Path | None:
    """Return the file that a storage is kept in, None where it is a server."""
    return None if "://" in storage.removeprefix(FILE) else Path(storage.removeprefix(FILE))


def open_journal(path: Path) -> JournalFileBackend:
    """Open a journal without the line that a killed process has only begun.

    The lock is the system's, which a killed process does not keep.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with lock:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if lines and not lines[-1].endswith(b"\n"):
            os.truncate(path, sum(map(len, lines[:-1])))
        elif lines:
            json.loads(lines[-1])  # which Optuna would pass over, and write on behind it
    return JournalFileBackend(str(path), lock)  # pyright: ignore[reportArgumentType]  # it has what Optuna asks of a lock


def own_name(folder: Path, storage: str | None) -> str:
    """Return the name of a sweep's study, which no other sweep has in its storage.

    Args:
        folder: the sweep's, which may be moved together with a storage in it.
        storage: see `open_storage`.
    """
    path = None if storage is None else file_of(storage)
    within = path is not None and path.resolve().is_relative_to(folder.resolve())
    return "search" if within else str(folder.resolve())


def open_study(
    name: str, storage: BaseStorage, sampler: BaseSampler, pruner: BasePruner | None, search: Mapping[str, Any]
) -> optuna.Study:
    """Open a study, or begin it.

    Args:
        name: its name in the storage.
        storage: where it is kept.
        sampler: draws trials.
        pruner: gives trials up; None gives none up, where Optuna would take one of its own.
        search: the config that the trials share and what they draw, by dotted keys.

    Raises:
        InputError: the trials of the study are of another search.
    """
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=sampler,
        pruner=pruner or NopPruner(),
        direction="maximize",
        load_if_exists=True,
    )
    now = json.loads(json.dumps(search))  # as a storage gives it back
    if not study.get_trials(deepcopy=False):
        study.set_user_attr(SEARCH, now)
    before = study.user_attrs.get(SEARCH, {})
    for key in sorted(before.keys() | now.keys()):
        require(
            before.get(key) == now.get(key),
            f"the study {name} has trials with {key}={before.get(key)}, but this search has {key}={now.get(key)}: "
            "give the overrides it was begun with, or another hydra.sweep.dir",
        )
    return study


def continued_seed(seed: int, num_trials: int) -> int:
    """A sampler's seed for a study that already holds some trials: with the first one it would draw those again."""
    return seed if num_trials == 0 else short_seed_of(seed, Stream.CONTINUED_SEARCH, num_trials)


def trial_of(storage: str, study_name: str, number: int, pruner: BasePruner | None) -> Trial:
    """A trial that another process draws and ends, to report to; without a pruner it is not given up."""
    study = optuna.load_study(study_name=study_name, storage=open_storage(storage), pruner=pruner or NopPruner())
    return handle(study, study.get_trials(deepcopy=False)[number])


def cut_off(study: optuna.Study) -> list[Trial]:
    """The trials that a search began and did not end."""
    return [handle(study, trial) for trial in study.get_trials(states=(TrialState.RUNNING,))]


def handle(study: optuna.Study, trial: FrozenTrial) -> Trial:
    """A stored trial as one that can be drawn for and reported to; what was drawn or reported stays."""
    return Trial(study, trial._trial_id)


def end(study: optuna.Study, trial: Trial, score: float) -> bool:
    """Record how a trial ended: complete with its score, given up by the pruner, or failed where the score is NaN.

    Returns:
        Whether the sampler says that it has drawn all there is.
    """
    if study.get_trials(deepcopy=False)[trial.number].user_attrs.get("pruned"):
        state = TrialState.PRUNED
    elif np.isfinite(score):
        state = TrialState.COMPLETE
    else:
        state = TrialState.FAIL
    try:
        study.tell(trial, score if state == TrialState.COMPLETE else None, state=state)
    except RuntimeError as error:  # samplers of finite spaces call Study.stop, which wants Study.optimize around it
        if "Study.stop" not in str(error):
            raise
        return True
    return False
