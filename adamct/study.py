"""Where the trials of a search are kept, and how other processes find them there. Needs the extra [search]."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from adamct.randomness import Stream, short_seed_of

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(storage: str | None) -> BaseStorage:
    """Open the place of studies.

    Args:
        storage: a database's URL (``sqlite:///study.db``), the path of a journal file, which many processes can share
            on any disk, or None for this process' memory.
    """
    if storage is None:
        return InMemoryStorage()
    if "://" not in storage:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(storage))
    if storage.startswith("sqlite:///"):
        Path(storage.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return RDBStorage(storage)


def continued_seed(seed: int, num_trials: int) -> int:
    """A sampler's seed for a study that already holds some trials: with the first one it would draw those again."""
    return seed if num_trials == 0 else short_seed_of(seed, Stream.CONTINUED_SEARCH, num_trials)


def trial_of(storage: str, study_name: str, number: int, pruner: Any) -> Trial:
    """A trial that another process draws and ends, to report to."""
    study = optuna.load_study(study_name=study_name, storage=open_storage(storage), pruner=pruner)
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
