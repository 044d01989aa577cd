"""Processes that Slurm starts, one on each of two nodes. Only the variables of Slurm are imitated."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adamct.errors import InputError
from adamct.runs.processes import require_one_folder, require_tasks, run_name
from tests.conftest import CONF, TINY, Ended

# Dropout is drawn by each process for its own share of a batch, so it is left out. Sums of gradients are rounded
# differently: in double precision by too little to change any rank.
COMMON = (*TINY, "model.dropout=0.0", "model.attn_dropout=0.0", "trainer.precision=64-true")


def task(number: int, tasks: int, tasks_per_node: int, port: int = 0) -> dict[str, str]:
    """Return the variables that srun sets for one of its tasks."""
    variables = {
        "JOB_ID": 4711,
        "JOB_NAME": "train",
        "STEP_ID": 0,
        "NTASKS": tasks,
        "NTASKS_PER_NODE": tasks_per_node,
        "NNODES": tasks // tasks_per_node,
        "PROCID": number,
        "LOCALID": number % tasks_per_node,
        "NODEID": number // tasks_per_node,
        "NODELIST": "127.0.0.1",
    }
    return {**{f"SLURM_{name}": str(value) for name, value in variables.items()}, "MASTER_PORT": str(port)}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def srun(folder: Path, tasks: int, tasks_per_node: int, *overrides: str) -> list[tuple[int, str, str]]:
    """Run the tasks, and return the exit code and the output of each."""
    port = free_port()
    command = [sys.executable, str(CONF.parent / "run.py"), *COMMON, *overrides]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **task(number, tasks, tasks_per_node, port)},
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for number in range(tasks)
    ]
    ended = [(process, *process.communicate(timeout=300)) for process in started]
    return [(process.returncode, out, err) for process, out, err in ended]


def assert_equal(one: Path, other: Path) -> None:
    first, second = (json.loads((folder / "results.json").read_text()) for folder in (one, other))
    assert second["references"] == first["references"]
    assert second["metrics"].keys() == first["metrics"].keys()
    assert all(abs(second["metrics"][name] - value) <= 1e-6 for name, value in first["metrics"].items())
    with np.load(one / "ranks.npz") as ours, np.load(other / "ranks.npz") as theirs:
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.integration
@pytest.mark.slow
def test_two_nodes_equal_one_process_and_share_a_folder(tmp_path: Path, run: Callable[..., Ended]) -> None:
    alone = tmp_path / "alone"
    assert run(*COMMON, f"hydra.run.dir={alone}").code == 0
    nodes = ("trainer=ddp", "trainer.num_nodes=2", "trainer.devices=1", "trainer.accelerator=cpu")
    for _, out, err in (ended := srun(tmp_path, 2, 1, *nodes)):
        assert not err
        assert out.count("results:") <= 1
    assert [code for code, *_ in ended] == [0, 0]
    (together,) = tmp_path.glob("outputs/*/*")
    assert together.name == "slurm-4711.0"
    assert_equal(alone, together)
    (first, said, _), second = srun(tmp_path, 2, 1, *nodes)  # as when the job is queued again
    assert first == 0
    assert said.startswith("finished before: ")
    assert second == (0, "", "")


@pytest.mark.integration
@pytest.mark.slow
def test_one_task_starts_the_processes_of_its_devices(tmp_path: Path, run: Callable[..., Ended]) -> None:
    alone = tmp_path / "alone"
    assert run(*COMMON, f"hydra.run.dir={alone}").code == 0
    ((code, _, err),) = srun(tmp_path, 1, 1, "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    assert code == 0, err
    (together,) = tmp_path.glob("outputs/*/*")
    assert_equal(alone, together)


@pytest.fixture
def as_task(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``as_task(number, tasks, tasks_per_node)``: set the variables of a task in this process."""

    def as_task(number: int, tasks: int, tasks_per_node: int) -> None:
        for key, value in task(number, tasks, tasks_per_node).items():
            monkeypatch.setenv(key, value)

    return as_task


def test_tasks_must_match_the_trainer(as_task: Callable[..., None], run: Callable[..., Ended], tmp_path: Path) -> None:
    as_task(0, 8, 8)
    ended = run(*COMMON, f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert "8 tasks" in ended.line
    assert "trainer.devices=1" in ended.line
    require_tasks(4, 2)
    as_task(0, 1, 1)
    require_tasks(4, 1)
    with pytest.raises(InputError, match="1 tasks"):
        require_tasks(1, 2)


def test_a_batch_script_needs_srun(as_task: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    as_task(0, 8, 8)
    monkeypatch.delenv("SLURM_STEP_ID")
    with pytest.raises(InputError, match="srun"):
        require_tasks(8, 1)


def test_a_run_has_the_name_of_its_time_or_job_step(as_task: Callable[..., None]) -> None:
    assert run_name("12:00") == "12:00"
    as_task(0, 1, 1)
    assert run_name("12:00") == "12:00"
    as_task(3, 8, 4)
    assert run_name("12:00") == "slurm-4711.0"


def test_processes_started_one_by_one_need_a_folder(
    run: Callable[..., Ended], as_task: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run(*COMMON, "trainer=ddp", "trainer.num_nodes=2")
    assert ended.code == 1
    assert "hydra.run.dir" in ended.line
    for num_nodes, launcher in ((2, {}), (1, {"TORCHELASTIC_RUN_ID": "none"})):
        for key, value in launcher.items():
            monkeypatch.setenv(key, value)
        require_one_folder(num_nodes, folder_given=True)
        with pytest.raises(InputError, match=r"hydra\.run\.dir"):
            require_one_folder(num_nodes, folder_given=False)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    require_one_folder(1, folder_given=False)
    as_task(0, 8, 4)
    require_one_folder(2, folder_given=False)
