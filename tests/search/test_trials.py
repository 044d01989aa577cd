"""Trials of a study that several commands run together."""

import os
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from adamct.runs.claim import Claim
from adamct.runs.job import add_failed_job
from adamct.search.storage import continued_seed, open_storage, open_study
from adamct.search.trials import Trials

SEED = 212


def seeded(kind: Callable[..., BaseSampler]) -> Callable[[int], BaseSampler]:
    return lambda first: kind(seed=continued_seed(SEED, first))


def joined(folder: Path, command: str, make_sampler: Callable[[int], BaseSampler], n_trials: int = 12) -> Trials:
    """Return the trials as a command sees them that has opened the study itself."""
    study = open_study("s", open_storage(str(folder / "study.log")), None, {})
    return Trials(study, n_trials, command, folder, make_sampler)


def draw(trial: Trial) -> float:
    return trial.suggest_float("x", 0, 1) + trial.suggest_categorical("y", [0, 10, 20])


def drawn(trials: Trials, *living: str) -> float | None:
    """Take a trial and draw its values; return None if there is no trial."""
    trial = trials.take({trials.command, *living})
    return trial and draw(trial)


@pytest.mark.parametrize("kind", [RandomSampler, TPESampler])
def test_one_command_draws_as_optuna_does(kind: Callable[..., BaseSampler], tmp_path: Path) -> None:
    study = optuna.create_study(sampler=kind(seed=SEED), direction="maximize")
    alone = joined(tmp_path, "a", seeded(kind))
    for number in range(12):
        trial = study.ask()
        expected = draw(trial)
        study.tell(trial, expected)
        assert drawn(alone) == expected
        alone.record(number, expected)


def test_commands_share_the_number_of_trials_and_draw_different_values(tmp_path: Path) -> None:
    commands = [joined(tmp_path, name, seeded(RandomSampler)) for name in ("a", "b", "c")]
    values = [drawn(trials, "a", "b", "c") for _ in range(5) for trials in commands]
    assert None not in values[:12]
    assert values[12:] == [None] * 3
    assert len(set(values[:12])) == 12


def test_trial_of_a_dead_command_is_continued_once(tmp_path: Path) -> None:
    dead, second, third = (joined(tmp_path, name, seeded(RandomSampler), n_trials=1) for name in ("a", "b", "c"))
    value = drawn(dead)
    (tmp_path / "0000,x=1").mkdir()
    assert drawn(second, "a") is None
    job = Claim(tmp_path / "0000,x=1")  # which another machine runs without its command
    assert job.take()
    assert drawn(second) is None
    assert [trial.number for trial in second.unfinished()] == [0]
    job.release()
    assert drawn(second) == value
    assert drawn(third, "b") is None
    second.record(0, 0.5)
    assert not third.unfinished()
    assert [trial.value for trial in third.study.trials] == [0.5]


def test_trial_that_was_cut_off_while_it_was_drawn_is_completed(tmp_path: Path) -> None:
    dead, other = (joined(tmp_path, name, seeded(RandomSampler), n_trials=2) for name in ("a", "b"))
    trial = dead.take({"a"})
    assert trial is not None
    first = trial.suggest_float("x", 0, 1)
    values = [drawn(other), drawn(other)]
    assert other.study.trials[0].params["x"] == first
    assert len(set(values)) == 2


def test_killed_job_is_left_to_the_next_command(tmp_path: Path) -> None:
    trials, other = (joined(tmp_path, name, seeded(RandomSampler), n_trials=1) for name in ("a", "b"))
    value = drawn(trials)
    add_failed_job(tmp_path, tmp_path / "0000,x=1")
    trials.record(0, None)
    for command in (trials, other):
        assert drawn(command) is None
        assert not command.unfinished()
    os.remove(tmp_path / ".failed")  # as the next command does
    assert drawn(other) == value


def test_exhausted_space_ends_the_search_of_all_commands(tmp_path: Path) -> None:
    commands = [joined(tmp_path, name, lambda first: GridSampler({"y": [0, 10]}, seed=first)) for name in ("a", "b")]
    for number, trials in enumerate(commands):
        trial = trials.take({"a", "b"})
        assert trial is not None
        trial.suggest_categorical("y", [0, 10])
        trials.record(number, 1.0)
    assert [trials.take({"a", "b"}) for trials in commands] == [None, None]
    assert [trial.state for trial in commands[0].study.trials] == [TrialState.COMPLETE] * 2
