"""The processes that train one model together: which of them writes, and what they must agree on. Imports no torch."""

import os
import signal
import threading
import time
from collections.abc import Sequence

from adamct.errors import require

PARENT = "ADAMCT_PARENT"
"""The environment's variable with the process id of the sweep that has started a job's processes."""


def is_first() -> bool:
    """Whether this process is the first of its run, or the only one: the one that writes."""
    return all(os.environ.get(rank, "0") == "0" for rank in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def processes_here(devices: object) -> int:
    """Return how many processes train on this machine, where ``trainer.devices`` is a number or a list of them.

    It is 1 where that is text, such as ``auto``, which mostly means GPUs, whose processes need few threads.
    """
    if isinstance(devices, str) or not isinstance(devices, int | Sequence):
        return 1
    return max(1, devices if isinstance(devices, int) else len(devices))


def slurm_tasks() -> int | None:
    """Return how many processes Slurm runs of this command, None where Slurm does not say; as Lightning does."""
    shell = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_NTASKS" not in os.environ or shell or "TORCHELASTIC_RUN_ID" in os.environ:
        return None
    return int(os.environ["SLURM_NTASKS"])


def run_name(time: str) -> str:
    """The name of a run's folder: its time, or where srun starts several processes, which differ in it, their job step.

    A job that is queued again keeps its steps' names, and so goes on.
    """
    if (slurm_tasks() or 1) > 1 and "SLURM_STEP_ID" in os.environ:
        return f"slurm-{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"
    return time


def require_one_folder(num_nodes: int, folder_given: bool) -> None:
    """Refuse processes that are started one by one, at different times, in folders that these times name.

    Raises:
        InputError: with the key that gives them one folder.
    """
    apart = "TORCHELASTIC_RUN_ID" in os.environ or (num_nodes > 1 and (slurm_tasks() or 1) == 1)
    require(
        folder_given or not apart,
        "processes that are not started by srun or by this command itself: give each the same hydra.run.dir=FOLDER",
    )


def require_tasks(num_devices: int, num_nodes: int) -> None:
    """Refuse another number of processes of Slurm than the trainer counts on: some would wait, or train apart.

    Raises:
        InputError: with both numbers.
    """
    tasks = slurm_tasks()
    if tasks is None or (tasks == 1 and num_nodes == 1):  # where Lightning starts the others itself
        return
    require(
        tasks == num_devices * num_nodes,
        f"Slurm runs {tasks} tasks, but a process for each of trainer.devices={num_devices} on each of "
        f"trainer.num_nodes={num_nodes} is {num_devices * num_nodes}: give srun --nodes and --ntasks-per-node to match",
    )
    require("SLURM_STEP_ID" in os.environ, f"one process of {tasks} tasks: start the command with srun")


def how_it_ended(exit_code: int) -> str:
    """Explain the end of a job's process that could not do so itself."""
    how = f"by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"with exit code {exit_code}"
    memory = ", as the system does when memory runs out" if exit_code == -signal.SIGKILL else ""
    return f"the job's process was ended {how}{memory}; give the command again"


def end_with(parent: int) -> None:
    """End this process soon after its parent is gone: what a killed sweep has started must not run on beside the next.

    Args:
        parent: the process id that the parent has, or had.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
