"""The preview of a sweep, and the line of each job that ends."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import OmegaConf

from adamct.sweeps.jobs import JOBS_LOG, JobsCallback
from adamct.sweeps.preview import BEGUN, FAILED, FINISHED, TO_DO, Job, at_once, status_of, summary
from tests.conftest import TINY, Ended

SASREC, HGN = ("beauty", "sasrec"), ("beauty", "hgn")


def finished(kind: tuple[str, str], seconds: float) -> Job:
    cost = {"train_seconds_per_epoch": seconds - 1, "validation_seconds": 1.0, "epochs": 10}
    return Job("seed=1", FINISHED, kind, {"cost": cost})


def other(kind: tuple[str, str], status: str = TO_DO) -> Job:
    return Job("seed=2", status, kind, {})


@pytest.mark.parametrize(
    ("jobs", "total", "at_once", "text"),
    [
        ([other(HGN)], 1, 1, "1 jobs: 1 to do. Time left: unknown, as none has finished"),
        ([finished(HGN, 5.0)], 1, 1, "1 jobs: 1 finished"),
        (
            [
                finished(HGN, 5.0),
                finished(SASREC, 35.0),
                other(SASREC),
                other(HGN, FAILED),
                other(("toys", "core"), BEGUN),
            ],
            5,
            2,
            # 350, 50 and 200 seconds
            "5 jobs: 2 finished, 1 failed, 1 begun, 1 to do. Time left: about 5 min 0 s, 2 at a time",
        ),
        ([finished(HGN, 6.0)], 4, 8, "4 jobs: 1 finished, 3 to do. Time left: about 1 min 0 s, 3 at a time"),
    ],
)
def test_the_time_left_is_that_of_finished_jobs_of_their_kind(
    jobs: list[Job], total: int, at_once: int, text: str
) -> None:
    assert summary(jobs, total, at_once) == text


def test_jobs_at_once_are_those_of_the_sweeper_or_of_the_launcher() -> None:
    for sweeper, launcher, number in [
        ({"n_jobs": 3}, {}, 3),
        ({}, {"n_jobs": 4}, 4),
        ({}, {"array_parallelism": 16}, 16),
    ]:
        assert at_once(OmegaConf.create({"sweeper": sweeper, "launcher": launcher})) == number


def test_a_folder_tells_the_status_of_its_job(tmp_path: Path) -> None:
    assert status_of(tmp_path, None) == TO_DO
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert status_of(tmp_path, None) == BEGUN
    (tmp_path / "error.txt").touch()
    assert status_of(tmp_path, None) == FAILED
    assert status_of(tmp_path, {}) == FINISHED


def test_a_preview_lists_the_jobs_and_writes_nothing(
    tmp_path: Path, run: Callable[..., Ended], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = ("-m", *TINY, "trainer.max_epochs=1", "stages=[fit]", "hydra.sweep.dir=sweep")
    assert run(*sweep, "seed=1,2", "preview=true").code == 0
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out.endswith("2 jobs: 2 to do. Time left: unknown, as none has finished\n")
    assert run(*sweep, "seed=1,2").code == 0
    assert "#1 seed=2: finished, val/uni20/ndcg@10 " in capsys.readouterr().out
    content = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run(*sweep, "seed=2,3", "preview=true").code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == content
    folder, *jobs, end = capsys.readouterr().out.splitlines()
    assert (folder, jobs) == ("sweep", ["#0    finished  seed=2", "#1    to do     seed=3"])
    assert end.startswith("2 jobs: 1 finished, 1 to do. Time left: about ")


def end_of_job(sweep: Path, number: int, value: Any, callback: JobsCallback, **sweeper: Any) -> None:
    folder = sweep / f"seed={number}"
    folder.mkdir(exist_ok=True)
    hydra = {"mode": RunMode.MULTIRUN, "sweeper": sweeper, "job": {"num": number}, "sweep": {"dir": str(sweep)}}
    config = OmegaConf.create({"monitor": "ndcg", "hydra": {**hydra, "runtime": {"output_dir": str(folder)}}})
    callback.on_job_start(config)
    if isinstance(value, float) and not math.isnan(value):
        (folder / "results.json").write_text(json.dumps({"pruned": value == 0.25}))
    if value == 0.75:  # a job that finished before
        os.utime(folder / "results.json", (0, 0))
    callback.on_job_end(config, JobReturn(status=JobStatus.COMPLETED, _return_value=value))


def test_a_line_says_how_a_job_ended_and_how_many_are_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = JobsCallback()
    callback.total = 6
    (tmp_path / "seed=3").mkdir()
    (tmp_path / "seed=3" / "error.txt").touch()
    for number, value in enumerate([0.5, 0.75, 0.25, math.nan, math.nan, "running elsewhere"]):
        end_of_job(tmp_path, number, value, callback)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "#0 seed=0: finished, ndcg 0.5000, 0 s; 5 of 6 jobs left",
        "#1 seed=1: finished before, ndcg 0.7500, 0 s; 4 of 6 jobs left",
        "#2 seed=2: pruned, ndcg 0.2500, 0 s; 3 of 6 jobs left",
        "#3 seed=3: failed, 0 s; 2 of 6 jobs left",
        "#4 seed=4: stopped, 0 s; 2 of 6 jobs left",
        "#5 seed=5: running elsewhere, 0 s; 1 of 6 jobs left",
    ]
    assert [line.partition("] ")[2] for line in (tmp_path / JOBS_LOG).read_text().splitlines()] == [
        line.partition(";")[0] for line in lines
    ]


def test_only_jobs_since_the_sweep_began_count_but_all_trials_of_a_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = JobsCallback()
    (tmp_path / JOBS_LOG).write_text("[2000-01-01 00:00:00] #0 seed=0: finished, ndcg 0.5, 1 s\n")
    callback.total, callback.began = 3, "2026-01-01 00:00:00"
    end_of_job(tmp_path, 1, 0.5, callback)
    end_of_job(tmp_path, 1, 0.5, callback, n_trials=3)
    callback.total = None
    end_of_job(tmp_path, 1, 0.5, callback, jobs=[["seed=1"], ["seed=2"]])
    end_of_job(tmp_path, 1, 0.5, callback)
    left = [line.partition("s; ")[2] for line in capsys.readouterr().out.splitlines()]
    assert left == ["2 of 3 jobs left", "1 of 3 jobs left", "1 of 2 jobs left", ""]
