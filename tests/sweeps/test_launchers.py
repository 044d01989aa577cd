"""Sweeps as commands with each launcher of `conf/hydra/launcher/`, started in another folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import pytorch_lightning as pl
import torch

from adamct.search.storage import open_storage
from tests.conftest import CONF, TINY, Ended
from tests.sweeps.runs import read_results

Run = Callable[..., Ended]
pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def alone(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of seed 1 in ``1`` and a run of seed 2 in ``2``; all tests share them."""
    folder = tmp_path_factory.getbasetemp() / "alone"
    for seed in (1, 2):
        if not (folder / str(seed)).exists():
            assert run(*TINY, f"seed={seed}", f"data_dir={folder}", f"hydra.run.dir={folder / str(seed)}").code == 0
    return folder


def command(*overrides: str) -> list[str]:
    run = [sys.executable, str(CONF.parent / "run.py"), "-m", *TINY, *overrides]
    return [*run, "hydra.sweep.dir=sweep"]


def sweep(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run `python run.py -m` in a process of its own."""
    options: Any = {"cwd": folder, "capture_output": True, "text": True}
    return subprocess.run(command(*overrides), **options)


def assert_jobs_equal_single_runs(sweep: Path, alone: Path) -> None:
    for seed in (1, 2):
        result = read_results(sweep / f"seed={seed}")
        assert result["seed"] == seed
        assert f"seed={seed}" in result["overrides"]
        assert result["metrics"] == read_results(alone / str(seed))["metrics"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("launcher", "package"),
    [
        ("slurm_local", "submitit"),
        ("ray_local", "ray"),
    ],
)
def test_jobs_of_a_launcher_equal_single_runs(launcher: str, package: str, tmp_path: Path, alone: Path) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{package}_launcher")
    ended = sweep(tmp_path, f"hydra/launcher={launcher}", "seed=1,2")
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr
    assert_jobs_equal_single_runs(tmp_path / "sweep", alone)


@pytest.mark.integration
def test_failed_job_is_named_after_the_others_finish(tmp_path: Path, alone: Path) -> None:
    ended = sweep(tmp_path, "hydra/launcher=processes", "seed=-1,1,2")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("error: 1 of the jobs in sweep failed: seed=-1;")
    assert "Warning" not in ended.stderr
    assert_jobs_equal_single_runs(tmp_path / "sweep", alone)


class KillsItsProcess(pl.Callback):
    """A callback that kills the process of one job of a sweep, the first time, as the system does without memory."""

    def __init__(self, job: str, marker: str):
        self.kills = Path(job).name == "seed=1" and not Path(marker).exists()
        self.marker = Path(marker)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.kills:
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def killer(folder: Path) -> str:
    target, job = "tests.sweeps.test_launchers.KillsItsProcess", "job: '${output_dir}'"
    return f"+callbacks.killer={{_target_: {target}, {job}, marker: {folder}/marker}}"


@pytest.mark.integration
def test_killed_job_does_not_end_the_others(tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CONF.parent))
    jobs = ("hydra/launcher=processes", "seed=1,2,3", killer(tmp_path))
    ended = sweep(tmp_path, *jobs)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("error: 1 of the jobs in sweep failed: seed=1;")
    assert "Traceback" not in ended.stderr
    assert "SIGKILL" in (tmp_path / "sweep" / "seed=1" / "error.txt").read_text()
    assert {path.parent.name for path in tmp_path.rglob("results.json")} == {"seed=2", "seed=3"}
    ended = sweep(tmp_path, *jobs)
    assert ended.returncode == 0, ended.stderr
    assert not list(tmp_path.rglob("error.txt"))
    assert_jobs_equal_single_runs(tmp_path / "sweep", alone)


@pytest.mark.integration
def test_killed_trial_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CONF.parent))
    callback = killer(tmp_path).replace("${output_dir}", "seed=1")  # the first trial, whatever its values
    search = ("hydra/launcher=processes", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2")
    search = (*search, "optimizer.lr=tag(log, interval(1e-4, 0.3))", "stages=[fit]", callback)
    assert sweep(tmp_path, *search).returncode == 1
    assert sweep(tmp_path, *search).returncode == 0
    trials = optuna.load_study(study_name="search", storage=open_storage(str(tmp_path / "sweep" / "study.log"))).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert len(list(tmp_path.rglob("results.json"))) == 3


def children(parent: int) -> set[int]:
    """Return the child processes of a process, and their child processes."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    direct = {pid for pid, ppid in pairs if ppid == parent}
    return direct.union(*map(children, direct))


def alive(processes: set[int]) -> set[int]:
    """Return the processes that have not ended."""
    return {pid for pid in processes if Path(f"/proc/{pid}/stat").exists()}


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs the /proc of Linux")
@pytest.mark.parametrize("keys", [("hydra/launcher=processes",), ("trainer=ddp", "trainer.devices=2")])
def test_jobs_end_with_their_sweep(keys: tuple[str, ...], tmp_path: Path) -> None:
    long = (*keys, "seed=1,2", "trainer.max_epochs=100000", "patience=100000", "trainer.accelerator=cpu")
    process = subprocess.Popen(command(*long), cwd=tmp_path)
    while not list(tmp_path.rglob("last.ckpt")):
        time.sleep(0.05)
    started = children(process.pid)
    assert len(started) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while alive(started) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(started)


@pytest.mark.integration
def test_search_runs_in_batches_on_ray(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=2")
    space = ("optimizer.lr=tag(log, interval(1e-4, 0.3))", "hydra/launcher=ray_local", "stages=[fit]")
    ended = sweep(tmp_path, *search, *space)
    assert ended.returncode == 0, ended.stderr
    trials = optuna.load_study(study_name="search", storage=open_storage(str(tmp_path / "sweep" / "study.log"))).trials
    results = [read_results(path.parent) for path in tmp_path.rglob("results.json")]
    assert {trial.value for trial in trials} == {result["metrics"]["val/uni20/ndcg@10"] for result in results}
    assert len(trials) == len(results) == 5
    assert all(len(trial.intermediate_values) == 3 for trial in trials)  # reported by Ray's workers


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_jobs_save_their_states_and_continue(number: int, tmp_path: Path) -> None:
    long = ("hydra/launcher=processes", "seed=1,2,3", "trainer.max_epochs=1000", "patience=1000")
    process = subprocess.Popen(command(*long), cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE, text=True)
    states = [tmp_path / "sweep" / f"seed={seed}" / "checkpoints" / "last.ckpt" for seed in (1, 2)]
    while not all(state.exists() for state in states):
        time.sleep(0.05)
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.splitlines()[-1] == "stopped: sweep; the same command continues it"
    assert not list(tmp_path.rglob("results.json"))
    assert not (tmp_path / "sweep" / "seed=3" / "checkpoints").exists()
    trained = [torch.load(state, weights_only=True)["epoch"] for state in states]
    ended = sweep(tmp_path, *long[:2], f"trainer.max_epochs={max(trained) + 2}")
    assert ended.returncode == 0, ended.stderr
    assert len(list(tmp_path.rglob("results.json"))) == 3
