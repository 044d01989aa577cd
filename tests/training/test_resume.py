"""A killed and resumed run has the weights and metrics of an uninterrupted one, to the last bit."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import CONF, TINY, Ended, give
from tests.training.interruptions import CUT, Killed, interrupt_at, kill_at

Run = Callable[..., Ended]


def outcome(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], int]:
    """Return the metrics with the chosen epochs, the final weights, and the number of steps."""
    results = json.loads((folder / "results.json").read_text())
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return results["metrics"] | {"chosen": results["chosen"]}, last["state_dict"], last["global_step"]


def history(folder: Path) -> dict[str, list[float]]:
    return json.loads((folder / "results.json").read_text())["history"]


def train_seconds(folder: Path) -> list[float]:
    """Return the seconds of each epoch's training."""
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return last["callbacks"]["Timing"]["train_seconds"]


def assert_same(actual: Path, expected: Path) -> None:
    metrics, weights, steps = outcome(actual)
    expected_metrics, expected_weights, expected_steps = outcome(expected)
    assert metrics == expected_metrics
    assert steps == expected_steps
    assert weights.keys() == expected_weights.keys()
    assert [name for name, value in expected_weights.items() if not weights[name].equal(value)] == []
    assert history(actual).keys() == history(expected).keys()
    for name, values in history(actual).items():  # it lacks an epoch that was cut off between its steps and validation
        assert values == history(expected)[name][-len(values) :]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        assert give(patch, *TINY, f"hydra.run.dir={folder}").code == 0
    return folder


def steps_an_epoch(folder: Path) -> int:
    return outcome(folder)[2] // 3


@pytest.mark.parametrize(
    ("save_every_n_steps", "epoch", "step"),
    [
        pytest.param("null", 0, 3, id="before the first checkpoint", marks=pytest.mark.slow),
        pytest.param("null", 1, 3, id="mid-epoch", marks=pytest.mark.slow),
        pytest.param("1", 0, 3, id="within an epoch"),
        pytest.param("1", 1, 0, id="between epochs", marks=pytest.mark.slow),
        pytest.param("1", 1, -1, id="at the last batch", marks=pytest.mark.slow),
        pytest.param("3", 1, 2, id="lagging", marks=pytest.mark.slow),
    ],
)
def test_a_killed_and_resumed_run_ends_the_same(
    save_every_n_steps: str, epoch: int, step: int, uninterrupted: Path, tmp_path: Path, run: Run
) -> None:
    began = time.perf_counter()
    length = steps_an_epoch(uninterrupted)
    at = epoch * length + step % length
    command = (*TINY, CUT, f"save_every_n_steps={save_every_n_steps}", "resume=auto", f"hydra.run.dir={tmp_path}")
    kill_at(at)
    with pytest.raises(Killed):
        run(*command)
    assert not (tmp_path / "results.json").exists()
    assert run(*command).code == 0
    assert_same(tmp_path, uninterrupted)
    assert sum(train_seconds(tmp_path)) < time.perf_counter() - began


@pytest.mark.parametrize(
    "keys",
    [
        ("trainer.val_check_interval=2",),
        ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=5"),
    ],
    ids=["within epochs", "every second epoch"],
)
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6])
@pytest.mark.slow
def test_other_validation_times_resume_the_same(at: int, keys: tuple[str, ...], tmp_path: Path, run: Run) -> None:
    command, whole, cut = (*TINY, CUT, *keys, "save_every_n_steps=1"), tmp_path / "whole", tmp_path / "cut"
    assert run(*command, f"hydra.run.dir={whole}").code == 0
    kill_at(at)
    with pytest.raises(Killed):
        run(*command, f"hydra.run.dir={cut}")
    assert run(*command, f"hydra.run.dir={cut}").code == 0
    assert_same(cut, whole)


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, id="Ctrl-C"), pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow)],
)
def test_a_signal_saves_the_state_to_resume_from(
    number: int, uninterrupted: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    at = steps_an_epoch(uninterrupted) + 2
    command, before = (*TINY, CUT, f"hydra.run.dir={tmp_path}"), signal.getsignal(number)
    interrupt_at(at, number)
    assert run(*command).code == 1
    assert signal.getsignal(number) == before
    assert f"a run's with \"hydra.run.dir='{tmp_path}'\"" in capsys.readouterr().out
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == at + 1
    assert not (tmp_path / "results.json").exists()
    assert run(*command).code == 0
    assert_same(tmp_path, uninterrupted)


@pytest.mark.slow
def test_an_interrupted_sweep_resumes(uninterrupted: Path, tmp_path: Path, run: Run) -> None:
    sweep = ("-m", *TINY, CUT, "seed=212,1", f"hydra.sweep.dir={tmp_path}")
    interrupt_at(2)
    assert run(*sweep).code == 1
    assert [path.name for path in tmp_path.glob("seed=*")] == ["seed=212"]
    assert run(*sweep).code == 0
    assert_same(tmp_path / "seed=212", uninterrupted)
    assert (tmp_path / "seed=1" / "results.json").exists()


@pytest.mark.slow
def test_a_run_resumes_in_another_folder(uninterrupted: Path, tmp_path: Path, run: Run) -> None:
    kill_at(2 * steps_an_epoch(uninterrupted) + 1)
    with pytest.raises(Killed):
        run(*TINY, CUT, f"hydra.run.dir={tmp_path / 'first'}")
    moved = (tmp_path / "first").rename(tmp_path / "moved")
    ended = run(*TINY, CUT, f"resume={moved}/checkpoints/last.ckpt", f"hydra.run.dir={tmp_path / 'second'}")
    assert ended.code == 0
    assert_same(tmp_path / "second", uninterrupted)


def test_a_finished_run_given_again_does_not_change(uninterrupted: Path, tmp_path: Path, run: Run) -> None:
    again = Path(shutil.copytree(uninterrupted, tmp_path / "again"))
    assert run(*TINY, "resume=auto", f"hydra.run.dir={again}").code == 0
    assert_same(again, uninterrupted)


@pytest.mark.slow
def test_an_early_stopped_run_does_not_train_again(uninterrupted: Path, tmp_path: Path, run: Run) -> None:
    command = (*TINY, "optimizer.lr=0", "patience=1", "resume=auto", f"hydra.run.dir={tmp_path}")
    assert run(*command).code == 0
    first = outcome(tmp_path)
    assert first[2] < outcome(uninterrupted)[2]
    assert run(*command).code == 0
    assert outcome(tmp_path)[0] == first[0]
    assert outcome(tmp_path)[2] == first[2]


@pytest.mark.integration
@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_the_same(uninterrupted: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(CONF.parent / "run.py"), *TINY, "resume=auto", f"hydra.run.dir={tmp_path}"]
    wait, kills = 4.0, 0
    while not (tmp_path / "results.json").exists():
        process = subprocess.Popen(command)
        try:
            assert process.wait(wait) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        wait += 0.7
        time.sleep(0.1)
    assert kills > 0
    assert_same(tmp_path, uninterrupted)
