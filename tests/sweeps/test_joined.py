"""Several commands that run one sweep together. Jobs sleep instead of training; all else is as in `run.py`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf

from adamct.runs.job import COMMANDS
from adamct.search.storage import open_storage
from benchmarks import sleeping
from tests.conftest import CONF

SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=12", "optimizer.lr=interval(1, 4)")
GRID = ("optimizer.lr=2.0,2.1,2.2,2.3,2.4,2.5,2.6,2.7",)


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    """Start a command of a sweep in a folder."""
    command = [sys.executable, str(sleeping.SCRIPT), "-m", *overrides, f"hydra.sweep.dir={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(CONF.parent)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end(commands: list[subprocess.Popen[str]]) -> list[str]:
    """Wait for commands to succeed, and return what each wrote to stderr."""
    errors = [command.communicate(timeout=300)[1] for command in commands]
    assert [command.returncode for command in commands] == [0] * len(commands), errors
    return errors


def starts(folder: Path) -> dict[str, list[str]]:
    """Return the processes that have started each job of a sweep."""
    return {path.parent.name: path.read_text().split() for path in folder.glob("*/starts")}


def running(folder: Path, process: int) -> set[str]:
    """Return the names of the folders of the jobs that a process has started and not finished."""
    last = {name for name, processes in starts(folder).items() if processes[-1:] == [str(process)]}
    return {name for name in last if not (folder / name / "results.json").exists()}


def kill_while_running(command: subprocess.Popen[str], folder: Path) -> set[str]:
    """Kill a command while it runs a job, and return the name of the folder of the job."""
    deadline = time.monotonic() + 60
    while not (jobs := running(folder, command.pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    command.kill()
    command.communicate()
    return jobs


@pytest.mark.integration
@pytest.mark.slow
def test_killed_command_of_three_loses_no_trial_of_a_search(tmp_path: Path) -> None:
    commands = [start(tmp_path, *SEARCH, *jobs) for jobs in ((), (), ("hydra.sweeper.n_jobs=2",))]
    unfinished = kill_while_running(commands.pop(0), tmp_path)
    errors = end(commands)
    trials = optuna.load_study(study_name="search", storage=open_storage(str(tmp_path / "study.log"))).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 12
    assert len({trial.value for trial in trials}) == 12
    results = [json.loads(path.read_text()) for path in tmp_path.glob("*/results.json")]
    assert {result["config"]["optimizer"]["lr"] for result in results} == {trial.value for trial in trials}
    assert {name for name, processes in starts(tmp_path).items() if len(processes) > 1} == unfinished
    assert len(unfinished) == 1
    assert sum("no report:" in error for error in errors) == 1  # of the last one, which misses what training records
    assert not list(tmp_path.glob(f"{COMMANDS}/*/"))


@pytest.mark.integration
@pytest.mark.slow
def test_killed_command_of_three_loses_no_job_of_a_grid(tmp_path: Path) -> None:
    commands = [start(tmp_path, *GRID, *jobs) for jobs in ((), (), ("hydra/launcher=processes",))]
    unfinished = kill_while_running(commands.pop(0), tmp_path)
    errors = end(commands)
    assert len(list(tmp_path.glob("*/results.json"))) == 8
    assert {name for name, processes in starts(tmp_path).items() if len(processes) > 1} == unfinished
    assert len(unfinished) == 1
    assert sum("no report:" in error for error in errors) == 1
    assert OmegaConf.load(tmp_path / "multirun.yaml").hydra.overrides.task == list(GRID)
