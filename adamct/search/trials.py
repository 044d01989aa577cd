"""The trials of a study that several commands run together. Needs the extra [search]."""

import logging
from collections.abc import Callable, Set
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from adamct.runs.claim import Claim
from adamct.runs.job import read_failed_jobs
from adamct.search.storage import EXHAUSTED, finish_trial, open_trial

log = logging.getLogger(__name__)

COMMAND = "command"
"""The attribute of a trial that names the command that runs it."""


class Trials:
    """The trials of a study, each run by one command at a time.

    Commands of the same seed draw different values: each makes its sampler for the number of the first trial that it
    draws. A command that is alone draws as if no others existed.

    Args:
        study: the study.
        n_trials: the number of trials of the whole study.
        command: the name of this command.
        sweep: the folder of the search, which has a folder for each trial.
        make_sampler: makes the sampler of a command that begins with the trial of this number.
    """

    def __init__(
        self, study: optuna.Study, n_trials: int, command: str, sweep: Path, make_sampler: Callable[[int], BaseSampler]
    ):
        self.study = study
        self.n_trials = n_trials
        self.command = command
        self.sweep = sweep
        self.make_sampler = make_sampler
        self.sampler: BaseSampler | None = None
        self.taken: dict[int, Trial] = {}

    def take(self, living: Set[str]) -> Trial | None:
        """Take a trial whose command has ended without finishing it, or draw a new one if any is missing.

        Call this in the command's turn, and draw the trial's values in the same turn.

        Args:
            living: the names of the commands that live.

        Returns:
            The trial; None if there is none to run now.
        """
        for trial in self.unfinished():
            if trial.user_attrs.get(COMMAND) not in living and not self.is_running(trial):
                self.study.sampler = self.make_sampler(trial.number)  # draws only values that the trial lacks
                return self.own(open_trial(self.study, trial))
        number = len(self.study.get_trials(deepcopy=False))
        if number >= self.n_trials or self.study.user_attrs.get(EXHAUSTED):
            return None
        self.sampler = self.study.sampler = self.sampler or self.make_sampler(number)
        return self.own(self.study.ask())

    def unfinished(self) -> list[FrozenTrial]:
        """Return the trials that some command is running or was running.

        A trial whose process was killed while its command lived is left out. The next command continues it.
        """
        killed = {folder.partition(",")[0] for folder in read_failed_jobs(self.sweep)}
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in trials if folder_number(trial.number) not in killed]

    def is_running(self, trial: FrozenTrial) -> bool:
        """Return whether a process is running a trial, such as a job on another machine whose command was killed."""
        return any(Claim(folder).is_held() for folder in self.sweep.glob(f"{folder_number(trial.number)},*"))

    def own(self, trial: Trial) -> Trial:
        """Record that this command runs a trial, and return the trial."""
        trial.set_user_attr(COMMAND, self.command)
        self.taken[trial.number] = trial
        return trial

    def record(self, number: int, score: float | None) -> None:
        """Record the score of a trial that this command took.

        Args:
            number: the trial's number.
            score: its score; NaN if it failed; None if it has not ended, so that it can be taken again.
        """
        trial = self.taken.pop(number)
        if score is None:
            trial.set_user_attr(COMMAND, None)
            return
        finish_trial(self.study, trial, score)
        state = self.study.get_trials(deepcopy=False)[trial.number].state
        log.info("trial %d: %s", trial.number, state.name.lower())


def folder_number(number: int) -> str:
    """Return the beginning of the name of a trial's folder."""
    return f"{number:04}"
