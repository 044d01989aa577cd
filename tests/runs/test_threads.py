"""The number of threads: that of the key, of the resumed run, of the environment, or the measured one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning_fabric.utilities.distributed import (
    _set_num_threads_if_needed,  # pyright: ignore[reportPrivateUsage]
)

from adamct.errors import InputError
from adamct.runs import threads
from adamct.runs.processes import processes_here
from adamct.runs.threads import THREADS, Threads, Wanted, computing_with, measured, threads_of_run
from tests.conftest import CONF, TINY, Ended


def amdahl(serial: float) -> Callable[[int], float]:
    """Return the seconds that an operation of one second takes with more threads, if a part of it is serial."""
    return lambda number: serial + (1 - serial) / number


@pytest.mark.parametrize(
    ("cores", "load", "processes", "serial", "number"),
    [
        (1, 0.0, 1, 0.0, 1),
        (2, 0.0, 1, 0.0, 2),
        (2, 0.0, 1, 0.9, 1),  # a second thread gains a twentieth
        (2, 1.0, 1, 0.0, 1),  # another process computes
        (2, 9.0, 1, 0.0, 1),
        (8, 0.4, 1, 0.0, 8),
        (8, 2.0, 1, 0.0, 6),
        (16, 0.0, 1, 0.2, 8),  # 1.67, 1.5 and 1.33 times as fast, then 1.2
        (8, 0.0, 2, 0.0, 4),
        (8, 0.0, 16, 0.0, 1),
    ],
)
def test_threads_are_as_many_as_are_free_and_help(
    cores: int, load: float, processes: int, serial: float, number: int
) -> None:
    choice = measured(cores, load, processes, amdahl(serial))
    assert choice.number == number
    assert f"of {cores} cores (load {load:.1f}" in str(choice)


def test_a_busy_machine_is_not_measured() -> None:
    def measure(number: int) -> float:
        raise AssertionError

    assert str(measured(2, 1.2, 1, measure)) == "1 of 2 cores (load 1.2)"


def test_the_line_has_the_speed_of_more_threads() -> None:
    assert str(measured(2, 0.0, 1, amdahl(0.8))) == "1 of 2 cores (load 0.0; 2 are 1.1 times as fast)"


def test_measuring_does_not_change_torchs_threads() -> None:
    before = torch.get_num_threads()
    assert 0 < threads.Operation()(2) < 10
    assert torch.get_num_threads() == before
    assert threads.usable_cores() >= 1
    assert threads.load() >= 0


def test_the_key_wins_over_the_run_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    monkeypatch.setattr(threads, "measured", lambda *_: Threads(5, "(measured)"))
    cases: list[tuple[Wanted, str | None, int]] = [
        ("auto", "auto", 3),
        ("auto", "auto", 3),
        (2, "auto", 2),
        ("auto", "auto", 2),  # as the run began
        ("auto", None, 3),  # which starts again
    ]
    for wanted, resume, number in cases:
        with threads_of_run(wanted, 1, tmp_path, resume) as choice:
            assert choice.number == number
            (tmp_path / THREADS).write_text(f"{choice.number}\n")
    other, checkpoint = tmp_path / "other", tmp_path / "checkpoints" / "last.ckpt"
    (tmp_path / THREADS).write_text("4\n")
    with threads_of_run("auto", 1, other, str(checkpoint)) as choice:
        assert choice.number == 4  # as the run of that checkpoint
    monkeypatch.delenv("OMP_NUM_THREADS")
    with threads_of_run("auto", 1, tmp_path / "new", "auto") as choice:
        assert choice.number == 5


def test_processes_of_a_run_have_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    with computing_with(3):
        _set_num_threads_if_needed(2)  # as Lightning does before it starts them
        assert torch.get_num_threads() == 3
        assert os.environ["OMP_NUM_THREADS"] == "3"
    assert torch.get_num_threads() == 1
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("devices", "count"), [(1, 1), (2, 2), ([0, 3], 2), ("auto", 1), (-1, 1), (None, 1), ("0,1", 1)]
)
def test_processes_here_are_the_devices(devices: object, count: int) -> None:
    assert processes_here(devices) == count


def test_unreadable_numbers_of_threads_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "threads.txt").write_text("two")
    with pytest.raises(InputError, match=r"threads.txt: is not a number of threads"):
        threads.begun_with(tmp_path, "auto")
    monkeypatch.setenv("OMP_NUM_THREADS", "two")
    with pytest.raises(InputError, match="OMP_NUM_THREADS=two"):
        threads.from_environment()


@pytest.mark.slow
def test_a_resumed_run_keeps_its_threads(
    run: Callable[..., Ended], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run(*TINY, "stages=[fit]", "trainer.max_epochs=1", "threads=2", f"hydra.run.dir={tmp_path}").code
    assert "threads  2 (as asked)\n" in capsys.readouterr().out
    assert not run(*TINY, "trainer.max_epochs=2", f"hydra.run.dir={tmp_path}").code
    assert "threads  2 (as the run began)\n" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["threads"] == 2


def test_threads_sleep_unless_the_environment_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("KMP_BLOCKTIME", raising=False)
    threads.let_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["KMP_BLOCKTIME"] == "0"
    monkeypatch.delenv("KMP_BLOCKTIME")


@pytest.mark.integration
@pytest.mark.slow
def test_openmp_has_the_passive_wait_policy(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_DISPLAY_ENV": "true"}  # OpenMP prints what it heard when torch is imported
    environment.pop("OMP_WAIT_POLICY", None)
    command = [sys.executable, str(CONF.parent / "run.py"), *TINY, "stages=[fit]", f"hydra.run.dir={tmp_path}"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in printed
