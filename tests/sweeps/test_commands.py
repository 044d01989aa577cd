"""The commands of a sweep: who lives, who joins, and who is refused."""

import signal
import time
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from adamct.errors import InputError
from adamct.runs.claim import Claim
from adamct.runs.job import ELSEWHERE, add_failed_job, read_failed_jobs, stop_file
from adamct.sweeps.callback import run_side_by_side
from adamct.sweeps.commands import enter, exit_if_stopping, leave, living
from hydra_plugins import adamct_lists
from tests.conftest import CONF


@cache
def composed_sweep(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return loader.load_configuration("config", list(overrides), run_mode=RunMode.MULTIRUN)


def sweep_in(folder: Path, *task: str) -> DictConfig:
    """Return the config of a sweep in a folder with these overrides of values that it varies."""
    config = deepcopy(composed_sweep("seed=1,2"))
    config.hydra.sweep.dir = str(folder)
    config.hydra.overrides.task = list(task)
    return config


def test_commands_join_and_leave(tmp_path: Path) -> None:
    config = sweep_in(tmp_path, "seed=1,2")
    first = enter(config)
    add_failed_job(tmp_path, tmp_path / "seed=1")
    config = sweep_in(tmp_path, "seed=1,2")
    config.trainer.accelerator = "gpu"  # changes how a job is executed, and not its numbers
    second = enter(config)
    assert living(tmp_path) == {first.folder.name, second.folder.name}
    assert stop_file(config.hydra).parent == second.folder
    assert f"hydra.callbacks.sweep.command='{second.folder.name}'" in config.hydra.overrides.hydra
    second.release()  # as the system does when a process is killed
    assert living(tmp_path) == {first.folder.name}
    assert not second.folder.exists()
    assert read_failed_jobs(tmp_path) == ["seed=1"]
    leave(first)
    last = enter(sweep_in(tmp_path, "seed=3,4"))
    assert living(tmp_path) == {last.folder.name}
    assert not read_failed_jobs(tmp_path)
    last.release()


def test_ctrl_c_ends_a_stopped_command_without_an_exception(tmp_path: Path) -> None:
    config, before = sweep_in(tmp_path, "seed=1,2"), signal.getsignal(signal.SIGINT)
    claim = enter(config)
    stop_file(config.hydra).touch()
    try:
        with pytest.raises(SystemExit, match="the same command continues it"):
            exit_if_stopping(config)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)
    leave(claim)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hydra.overrides.task": ["seed=1,3"]}, "seed=1,2, but this one has seed=1,3"),
        ({"monitor": "val/full/ndcg@10"}, "but this one has monitor=val/full/ndcg@10"),
        ({"hydra.sweeper.params": {"label": "x"}}, "but this one has hydra.sweeper.params"),
    ],
)
def test_command_of_another_sweep_is_refused(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    first = enter(sweep_in(tmp_path, "seed=1,2"))
    config = sweep_in(tmp_path, "seed=1,2")
    for key, value in change.items():
        OmegaConf.update(config, key, value, merge=False)
    with pytest.raises(InputError, match=named) as refused:
        enter(config)
    assert "\n" not in str(refused.value)
    assert living(tmp_path) == {first.folder.name}
    first.release()


def test_search_of_several_trials_at_once_runs_in_processes() -> None:
    config = composed_sweep("hydra/sweeper=optuna", "hydra.sweeper.n_jobs=3")
    run_side_by_side(config)
    assert config.hydra.launcher._target_.endswith("ProcessesLauncher")
    assert composed_sweep(*config.hydra.overrides.hydra).hydra.launcher == config.hydra.launcher  # of each job
    assert config.hydra.launcher.n_jobs == 3


class StubLauncher(Launcher):
    """A launcher whose jobs another command runs, the first time.

    Args:
        folder: the sweep's folder, which has a folder for each job.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.launched: list[list[str]] = []

    def setup(self, **arguments: Any) -> None:
        pass

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        seeds = [overrides[0] for overrides in job_overrides]
        again = bool(self.launched)
        self.launched.append(seeds)
        assert initial_job_idx == int(seeds[0][-1])
        return [self.returned(seed, again) for seed in seeds]

    def returned(self, seed: str, again: bool) -> JobReturn:
        config = OmegaConf.create({"hydra": {"runtime": {"output_dir": str(self.folder / seed)}}})
        value = 0.5 if again or seed == "seed=1" else ELSEWHERE
        return JobReturn(hydra_cfg=config, status=JobStatus.COMPLETED, _return_value=value)


def test_grid_waits_for_the_jobs_of_others_and_continues_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = sweep_in(tmp_path, "seed=0,1,2")
    command = enter(config)
    launcher, sweeper = StubLauncher(tmp_path), adamct_lists.GridSweeper(None, None)
    sweeper.config, sweeper.launcher = config, launcher
    monkeypatch.setattr(sweeper, "hydra_context", SimpleNamespace(config_loader=None))
    monkeypatch.setattr(sweeper, "validate_batch_is_legal", lambda batch: None)
    jobs = {number: Claim(tmp_path / f"seed={number}") for number in (0, 2)}
    assert all(job.take() for job in jobs.values())
    monkeypatch.setattr(time, "sleep", lambda seconds: jobs.popitem()[1].release())  # others finish them one by one
    sweeper.sweep(["seed=0,1,2"])
    assert launcher.launched == [["seed=0", "seed=1", "seed=2"], ["seed=2"], ["seed=0"]]
    assert OmegaConf.load(tmp_path / "multirun.yaml").hydra.sweep.dir == str(tmp_path)
    command.release()
