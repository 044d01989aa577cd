"""Sweeps as commands: their folders, failed jobs, and the same command again."""

import itertools
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from hydra.core.override_parser.overrides_parser import OverridesParser

from adamct.report.inputs.titles import MODELS
from adamct.runs.claim import Claim
from tests.conftest import CONF, TINY, Ended
from tests.sweeps.runs import results_below

Run = Callable[..., Ended]
RUN = [sys.executable, str(CONF.parent / "run.py")]


class FailsAtFirst(pl.Callback):
    """A callback that fails in one job of a sweep, the first time."""

    job = "model=hgn,optimizer.lr=0.01,seed=2"

    def __init__(self, job: str, marker: str):
        self.fails = Path(job).name == self.job and not Path(marker).exists()
        self.marker = Path(marker)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.fails:
            self.marker.touch()
            raise RuntimeError("made to fail")


@pytest.mark.slow
def test_same_sweep_with_more_values_runs_the_missing_jobs(tmp_path: Path, run: Run) -> None:
    sweep = ("-m", *TINY, f"hydra.sweep.dir={tmp_path}/auto")
    assert run(*sweep, "seed=1,2").code == 0
    (folder,) = tmp_path.iterdir()
    first = {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")}
    assert run(*sweep, "seed=3,2,1").code == 0
    assert list(tmp_path.iterdir()) == [folder]
    assert {name: result["seed"] for name, result in results_below(folder).items()} == {
        f"seed={k}": k for k in (1, 2, 3)
    }
    assert all(path.stat().st_mtime_ns == time for path, time in first.items())


def test_failed_job_is_recorded_and_the_others_run(tmp_path: Path, run: Run) -> None:
    sweep = ("-m", *TINY, "trainer.max_epochs=1", f"hydra.sweep.dir={tmp_path}")
    ended = run(*sweep, "optimizer.lr=1e30,0.01")
    assert ended.code == 1
    assert "optimizer.lr=1e+30" in ended.line
    assert "optimizer.lr=0.01" not in ended.line
    assert set(results_below(tmp_path)) == {"optimizer.lr=0.01"}
    error = (tmp_path / "optimizer.lr=1e+30" / "error.txt").read_text()
    assert error.startswith("Traceback")
    assert "not finite at step" in error.splitlines()[-1]


def test_a_job_of_several_processes_gets_its_folder_with_any_name(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def start(command: list[str], env: Any) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(wait=lambda: 1)

    (tmp_path / "Bob's").mkdir()
    monkeypatch.chdir(tmp_path / "Bob's")
    monkeypatch.setattr("adamct.runs.job.subprocess", SimpleNamespace(Popen=start))
    assert run("-m", *TINY, "trainer.devices=2", "hydra.sweep.dir=sweep").code == 1
    ((_, _, _, _, *overrides),) = commands
    (*_, folder) = OverridesParser.create().parse_overrides(overrides)
    assert folder.key_or_group == "hydra.run.dir"
    assert folder.value() == str(tmp_path / "Bob's" / "sweep" / "run")


@pytest.mark.slow
def test_job_that_failed_before_may_finish(tmp_path: Path, run: Run) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "error.txt").write_text("the disk was full\n")
    assert run("-m", *TINY, "trainer.max_epochs=1", f"hydra.sweep.dir={tmp_path}", "hydra.sweep.subdir=job").code == 0
    assert set(results_below(tmp_path)) == {"job"}


@pytest.mark.slow
def test_earlier_failures_of_other_jobs_do_not_count(tmp_path: Path, run: Run) -> None:
    sweep = ("-m", *TINY, "trainer.max_epochs=1", f"hydra.sweep.dir={tmp_path}")
    ended = run(*sweep, "optimizer.lr=1e30,2e30")
    assert ended.code == 1
    assert "2 of the jobs" in ended.line
    assert run(*sweep, "optimizer.lr=0.01").code == 0
    ended = run(*sweep, "optimizer.lr=0.01,1e30")
    assert ended.code == 1
    assert "1 of the jobs" in ended.line
    assert len(list(tmp_path.rglob("error.txt"))) == 2


@pytest.mark.slow
def test_similar_values_have_different_folders(tmp_path: Path, run: Run) -> None:
    assert run("-m", *TINY, "trainer.max_epochs=1", "label='a b',a_b", f"hydra.sweep.dir={tmp_path}").code == 0
    assert {result["config"]["label"] for result in results_below(tmp_path).values()} == {"a b", "a_b"}


@pytest.mark.slow
def test_two_logs_have_two_sweep_folders(tmp_path: Path, run: Run) -> None:
    rows = [f"{user},{item},{time}" for user in range(20) for time, item in enumerate(range(user % 3, 30, 3))]
    for number, header in enumerate(("user,item,timestamp", "user,item,timestamp\nx,1,1")):
        (tmp_path / f"{number}.csv").write_text("\n".join([header, *rows]))
    keys = ("dataset.batch_size=128", "dataset.negatives.count=5", "model.hidden_size=8", "trainer.max_epochs=1")
    sweep = (
        "-m",
        *keys,
        *TINY[-4:],
        "dataset=custom",
        f"data_dir={tmp_path}",
        f"hydra.sweep.dir={tmp_path}/sweeps/auto",
    )
    for number in (0, 1):
        assert run(*sweep, f"dataset.path={tmp_path}/{number}.csv", "seed=1,2").code == 0
    assert len(list(tmp_path.glob("sweeps/*/seed=*/results.json"))) == 4


@pytest.mark.slow
def test_cases_override_a_key_of_the_command_line(tmp_path: Path, run: Run) -> None:
    cases = "hydra.sweeper.cases=[['model.num_heads=2'],['model.num_heads=4'],['model.num_layers=1']]"
    sweep = ("-m", *TINY, "hydra/sweeper=cases", cases, "model.num_heads=1", "trainer.max_epochs=1")
    assert run(*sweep, f"hydra.sweep.dir={tmp_path}").code == 0
    assert sorted(result["config"]["model"]["num_heads"] for result in results_below(tmp_path).values()) == [1, 2, 4]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("seed=1,2", "hydra.sweeper.max_batch_size=0"), "max_batch_size=0"),
        (("hydra/sweeper=cases", "hydra.sweeper.cases=5"), "cases=5"),
        (("hydra/sweeper=cases", "hydra.sweeper.cases=[seed]"), "cases=[seed]"),
        (("hydra/launcher=processes", "hydra.launcher.n_jobs=0", "seed=1,2"), "n_jobs=0"),
        (("hydra/launcher=processes", "hydra.launcher.n_jobs=many", "seed=1,2"), "n_jobs=many"),
    ],
)
def test_mistakes_in_a_sweep_give_one_line(overrides: tuple[str, ...], message: str, tmp_path: Path, run: Run) -> None:
    ended = run("-m", *TINY, *overrides, f"hydra.sweep.dir={tmp_path}")
    assert ended.code == 1
    assert ended.line.startswith("error: ")
    assert message in ended.line
    assert "\n" not in ended.line


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, "", "hydra: {swee", "- 1", "5", "\x00\xff"])
def test_sweep_overwrites_damaged_files_of_hydra(content: str | None, tmp_path: Path, run: Run) -> None:
    names = ["multirun.yaml", *(f"seed={seed}/.hydra/{name}.yaml" for seed in (1, 2) for name in ("config", "hydra"))]
    (tmp_path / ".lock").touch()  # a folder of a sweep
    for path in (tmp_path / name for name in names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if content is None else path.write_text(content)
    ended = run("-m", *TINY, "trainer.max_epochs=1", "seed=1,2", f"hydra.sweep.dir={tmp_path}")
    if content is None:
        assert ended.code == 1
        assert "multirun.yaml: Is a directory" in ended.line
    else:
        assert ended.code == 0
        assert len(results_below(tmp_path)) == 2


@pytest.mark.slow
def test_job_of_another_process_is_continued_when_that_has_ended(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, is_held = Claim(tmp_path / "seed=1"), Claim.is_held
    assert other.take()

    def end_and_look(claim: Claim) -> bool:
        if claim.folder.name == "seed=1":
            assert set(results_below(tmp_path)) == {"seed=2"}
            other.release()
        return is_held(claim)

    monkeypatch.setattr(Claim, "is_held", end_and_look)
    sweep = ("-m", *TINY, "model=popularity", "seed=1,2", f"hydra.sweep.dir={tmp_path}")
    assert run(*(key for key in sweep if "hidden_size" not in key)).code == 0
    assert results_below(tmp_path)["seed=1"]["seed"] == 1
    assert len(results_below(tmp_path)) == 2


@pytest.mark.integration
@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("search", [False, True], ids=["grid", "search"])
def test_jobs_of_two_processes_equal_jobs_of_one(search: bool, tmp_path: Path) -> None:
    # Each process draws dropout for its own share of a batch, so there is none here. Sums of gradients are rounded
    # differently, in double precision by too little to change a rank.
    common = (*TINY, "model.dropout=0.0", "model.attn_dropout=0.0", "trainer.precision=64-true")
    seeds = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "seed=choice(1,2,3,4,5)"] if search else ["seed=1,2"]
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    folders = tmp_path / "alone", tmp_path / "together"
    for folder, devices in zip(folders, ((), two), strict=True):
        subprocess.run([*RUN, "-m", *common, *devices, *seeds, f"hydra.sweep.dir={folder}"], check=True)
    alone, together = map(results_below, folders)
    assert len(alone) == 2
    assert alone.keys() == together.keys()
    for name, one in alone.items():
        assert together[name]["metrics"] == pytest.approx(one["metrics"], abs=1e-6)
        with (
            np.load(folders[0] / name / "ranks.npz") as ours,
            np.load(folders[1] / name / "ranks.npz") as theirs,
        ):
            assert all(np.array_equal(ours[protocol], theirs[protocol]) for protocol in ours)


def ndcg_of(file: Path) -> float:
    with np.load(file) as ranks:
        return float(np.mean([1 / math.log2(rank + 1) if rank <= 10 else 0.0 for rank in ranks["uni20"].tolist()]))


@pytest.mark.integration
@pytest.mark.integration
@pytest.mark.slow
def test_killed_sweep_finishes_and_is_reported(tmp_path: Path) -> None:
    tiny = [key for key in TINY if not key.startswith(("hydra.callbacks", "optimizer.lr"))]
    callback = (
        f"{{_target_: tests.sweeps.test_sweep.FailsAtFirst, job: '${{output_dir}}', marker: '{tmp_path / 'marker'}'}}"
    )
    sweep = [*RUN, "-m", *tiny, "hydra/launcher=processes", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    sweep += ["model=hgn,gru4rec,adamct", "optimizer.lr=0.01,0.03", "seed=1,2,3", f"+callbacks.fails={callback}"]
    environment = os.environ | {"PYTHONPATH": str(CONF.parent)}
    process = subprocess.Popen(sweep, start_new_session=True, env=environment)
    while len(results_below(tmp_path)) < 8:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (failed,) = tmp_path.rglob("error.txt")
    assert failed.parent.name == FailsAtFirst.job
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.json")}
    assert len(written) < 18
    subprocess.run(sweep, check=True, env=environment)
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert len(results_below(tmp_path)) == 18
    assert not list(tmp_path.rglob("error.txt"))

    table = (tmp_path / "sweep" / "report" / "table.md").read_text().splitlines()
    head = next(line for line in table if line.startswith("|  | seeds")).split("|")
    column = head.index(" uni20 ndcg@10 ")
    rows = itertools.takewhile(lambda line: line.startswith("|"), table[table.index("|".join(head)) + 2 :])
    cells = [line.split("|") for line in rows]
    shown = {row[1].strip(" *"): re.findall(r"[.\d]+", row[column])[:2] for row in cells}
    for model, rate in itertools.product(("hgn", "gru4rec", "adamct"), ("0.01", "0.03")):
        folders = [tmp_path / "sweep" / f"model={model},optimizer.lr={rate},seed={seed}" for seed in (1, 2, 3)]
        scores = [ndcg_of(folder / "ranks.npz") for folder in folders]
        expected = [f"{mean(scores):.4f}", f"{stdev(scores):.4f}"]
        assert shown[f"{MODELS[model]} lr={rate}"] == expected
