"""Sweeps: their folders, what becomes of jobs that fail, and what a sweep given again does."""

import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import optuna
import pytest
import pytorch_lightning as pl
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser

from adamct.gpus import least_used
from adamct.sweep import LONGEST, folder_name, sweep_name
from tests.conftest import CONF, TINY, Ended

Run = Callable[..., Ended]
RUN = [sys.executable, str(CONF.parent / "run.py")]


class FailsAtFirst(pl.Callback):
    """Ends one job of a sweep with an error, the first time."""

    job = "model=hgn,optimizer.lr=0.01,seed=2"

    def __init__(self, job: str, marker: str):
        self.fails = Path(job).name == self.job and not Path(marker).exists()
        self.marker = Path(marker)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.fails:
            self.marker.touch()
            raise RuntimeError("made to fail")


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """The results below a folder, by the names of the runs' folders."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.rglob("results.json"))}


def test_a_sweep_is_named_by_what_it_is() -> None:
    def named(*overrides: str) -> str:
        return sweep_name(["table2", "basic"], OverridesParser.create().parse_overrides(list(overrides)), ["seed"])

    plain = named("sweep=table2", "dataset.path=/a/b.txt", "logger=wandb", "logger.mode=offline", "trainer=gpu")
    assert plain == "table2,seed"
    assert named("optimizer.lr=0.5") == "table2,seed,optimizer.lr=0.5"
    assert named("~tuned", "model/mixture=none") == "table2,seed,~tuned,model.mixture=none"


def test_names_of_folders_are_short_and_tell_sweeps_apart() -> None:
    names = {folder_name("x=" + "a" * length) for length in range(300)}
    assert len(names) == 300
    assert max(map(len, names)) == LONGEST
    assert "/" not in folder_name("model/gate@model.parts.local_gate=none")


@pytest.mark.slow
def test_given_again_with_more_values_only_what_is_missing_runs(tmp_path: Path, run: Run) -> None:
    sweep = ("-m", *TINY, f"hydra.sweep.dir={tmp_path}/auto")
    assert run(*sweep, "seed=1,2").code == 0
    (folder,) = tmp_path.iterdir()
    first = {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")}
    assert run(*sweep, "seed=3,2,1").code == 0
    assert list(tmp_path.iterdir()) == [folder]
    assert {name: found["seed"] for name, found in results(folder).items()} == {f"seed={k}": k for k in (1, 2, 3)}
    assert all(path.stat().st_mtime_ns == time for path, time in first.items())


def test_a_failed_job_is_recorded_and_the_others_run(tmp_path: Path, run: Run) -> None:
    sweep = ("-m", *TINY, "trainer.max_epochs=1", f"hydra.sweep.dir={tmp_path}")
    ended = run(*sweep, "optimizer.lr=1e30,0.01")
    assert ended.code == 1
    assert "optimizer.lr=1e+30" in ended.line
    assert "optimizer.lr=0.01" not in ended.line
    assert set(results(tmp_path)) == {"optimizer.lr=0.01"}
    error = (tmp_path / "optimizer.lr=1e+30" / "error.txt").read_text()
    assert error.startswith("Traceback")
    assert "not finite at step" in error.splitlines()[-1]


def test_a_job_given_again_after_it_failed_is_no_failure_any_more(tmp_path: Path, run: Run) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "error.txt").write_text("as if a disk had been full\n")
    assert run("-m", *TINY, "trainer.max_epochs=1", f"hydra.sweep.dir={tmp_path}", "hydra.sweep.subdir=job").code == 0
    assert set(results(tmp_path)) == {"job"}


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path, run: Run) -> None:
    with FileLock(tmp_path / ".lock"):
        ended = run("-m", *TINY, "seed=1,2", f"hydra.sweep.dir={tmp_path}")
    assert ended.code == 1
    assert str(tmp_path) in ended.line
    assert not results(tmp_path)


@pytest.mark.slow
def test_a_checkpoint_of_another_training_is_not_gone_on_with(tmp_path: Path, run: Run) -> None:
    command = (*TINY, f"hydra.run.dir={tmp_path}", "trainer.max_epochs=1")
    assert run(*command).code == 0
    before = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    for other in ("optimizer.lr=0.5", "seed=9", "dataset.batch_size=64", "scheduler=linear_decay"):
        ended = run(*command, other)
        assert ended.code == 1
        assert other.partition(".lr")[0].partition("=")[0] in ended.line
    ended = run(*command[:-1], "trainer.max_epochs=0")
    assert ended.code == 1
    assert "trainer.max_epochs=0" in ended.line
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == before
    assert run(*command, "optimizer.lr=0.5", "resume=null").code == 0
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() != before


def test_runs_beside_each_other_share_devices_evenly(tmp_path: Path) -> None:
    held = [least_used(3, tmp_path) for _ in range(5)]
    assert [one.__enter__() for one in held] == [0, 1, 2, 0, 1]
    held[1].__exit__(None, None, None)
    with least_used(3, tmp_path) as device:
        assert device == 1


@pytest.mark.slow
@pytest.mark.parametrize("search", [False, True], ids=["grid", "search"])
def test_jobs_of_two_processes_equal_those_of_one(search: bool, tmp_path: Path) -> None:
    # Dropout is drawn by each process for its own share of a batch, so it is left out. Sums of gradients are rounded
    # differently: in double precision by too little to change any rank.
    common = (*TINY, "model.dropout=0.0", "model.attn_dropout=0.0", "trainer.precision=64-true")
    seeds = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "seed=choice(1,2,3,4,5)"] if search else ["seed=1,2"]
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    folders = tmp_path / "alone", tmp_path / "together"
    for folder, devices in zip(folders, ((), two), strict=True):
        subprocess.run([*RUN, "-m", *common, *devices, *seeds, f"hydra.sweep.dir={folder}"], check=True)
    alone, together = map(results, folders)
    assert len(alone) == 2
    assert alone.keys() == together.keys()
    for name, one in alone.items():
        assert together[name]["metrics"] == pytest.approx(one["metrics"], abs=1e-6)
        with (
            np.load(folders[0] / name / "ranks.npz") as ours,
            np.load(folders[1] / name / "ranks.npz") as theirs,
        ):
            assert all(np.array_equal(ours[protocol], theirs[protocol]) for protocol in ours)


@pytest.mark.slow
def test_a_search_that_is_killed_ends_with_the_trials_it_should(tmp_path: Path) -> None:
    search = [*RUN, "-m", *TINY, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=20", f"hydra.sweep.dir={tmp_path}"]
    search += ["optimizer.lr=tag(log, interval(1e-4, 0.3))", "trainer.max_epochs=6", "stages=[fit]"]
    search += [f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db"]
    search += ["hydra.sweeper.pruner={_target_: optuna.pruners.MedianPruner, n_warmup_steps: 1}"]
    process = subprocess.Popen(search)
    while len(results(tmp_path)) < 7:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(search, check=True)
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path}/study.db")
    states = Counter(trial.state.name for trial in study.trials)
    assert sum(states.values()) == 20
    assert states["PRUNED"] >= 1
    assert states["COMPLETE"] + states["PRUNED"] == 20
    found = [run for run in results(tmp_path).values() if not run["pruned"]]
    assert len(results(tmp_path)) == 20
    assert study.best_value == max(run["metrics"]["val/uni20/ndcg@10"] for run in found)


def ndcg_of(ranks: Path) -> float:
    with np.load(ranks) as found:
        return float(np.mean([1 / math.log2(rank + 1) if rank <= 10 else 0.0 for rank in found["uni20"].tolist()]))


@pytest.mark.slow
def test_a_sweep_killed_half_way_is_finished_and_reported(tmp_path: Path) -> None:
    tiny = [key for key in TINY if not key.startswith(("hydra.callbacks", "optimizer.lr"))]
    callback = f"{{_target_: tests.test_sweep.FailsAtFirst, job: '${{output_dir}}', marker: '{tmp_path / 'marker'}'}}"
    sweep = [*RUN, "-m", *tiny, "hydra/launcher=processes", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    sweep += ["model=hgn,gru4rec,adamct", "optimizer.lr=0.01,0.03", "seed=1,2,3", f"trainer.callbacks=[{callback}]"]
    environment = os.environ | {"PYTHONPATH": str(CONF.parent)}
    process = subprocess.Popen(sweep, start_new_session=True, env=environment)
    while len(results(tmp_path)) < 8:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (failed,) = tmp_path.rglob("error.txt")
    assert failed.parent.name == FailsAtFirst.job
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.json")}
    assert len(written) < 18
    subprocess.run(sweep, check=True, env=environment)
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert len(results(tmp_path)) == 18
    assert not list(tmp_path.rglob("error.txt"))

    table = (tmp_path / "sweep" / "report" / "table.md").read_text().splitlines()
    names = next(line for line in table if line.startswith("|") and "hgn" in line).split("|")[2:]
    cells = next(line for line in table if line.startswith("| uni20 ndcg@10")).split("|")[2:]
    shown = {name.strip(): re.findall(r"[.\d]+", cell)[:2] for name, cell in zip(names, cells, strict=True)}
    for model, rate in itertools.product(("hgn", "gru4rec", "adamct"), ("0.01", "0.03")):
        folders = [tmp_path / "sweep" / f"model={model},optimizer.lr={rate},seed={seed}" for seed in (1, 2, 3)]
        scores = [ndcg_of(folder / "ranks.npz") for folder in folders]
        expected = [f"{mean(scores):.4f}", f"{stdev(scores):.4f}"]
        assert shown[f"{model} lr={rate}"] == expected
