"""The processes that train one model together: their number, their shared folder, and the one that writes.

The module does not import torch.
"""

import os
import signal
import threading
import time
from collections.abc import Sequence

from adamct.errors import require

PARENT = "ADAMCT_PARENT"
"""The environment variable with the process id of the sweep that started a job."""


def is_first() -> bool:
    """Whether this process is the first of its run, or the only one. Only the first process writes files."""
    return all(os.environ.get(rank, "0") == "0" for rank in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def processes_here(devices: object) -> int:
    """Return how many processes train on this machine, from a number or list in ``trainer.devices``.

    Return 1 for text such as ``auto``. It mostly means GPUs, whose processes need few threads.
    """
    if isinstance(devices, str) or not isinstance(devices, int | Sequence):
        return 1
    return max(1, devices if isinstance(devices, int) else len(devices))


def slurm_tasks() -> int | None:
    """Return how many processes of this command Slurm runs, None without Slurm. Lightning uses the same rule."""
    shell = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_NTASKS" not in os.environ or shell or "TORCHELASTIC_RUN_ID" in os.environ:
        return None
    return int(os.environ["SLURM_NTASKS"])


def run_name(time: str) -> str:
    """Return the name of a run's folder: the time, or the job step if srun starts several processes.

    Processes of one step may differ in the time. A requeued job keeps the names of its steps, and so it resumes.
    """
    if (slurm_tasks() or 1) > 1 and "SLURM_STEP_ID" in os.environ:
        return f"slurm-{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"
    return time


def require_one_folder(num_nodes: int, folder_given: bool) -> None:
    """Refuse processes of one run that would write to different folders, because each starts at its own time.

    Raises:
        InputError: names the key that gives them one folder.
    """
    apart = "TORCHELASTIC_RUN_ID" in os.environ or (num_nodes > 1 and (slurm_tasks() or 1) == 1)
    require(
        folder_given or not apart,
        "several processes that neither srun nor this command starts: give each the same hydra.run.dir=FOLDER",
    )


def require_tasks(num_devices: int, num_nodes: int) -> None:
    """Refuse a number of Slurm's processes that is not the trainer's: some would wait or train alone.

    Raises:
        InputError: names both numbers.
    """
    tasks = slurm_tasks()
    if tasks is None or (tasks == 1 and num_nodes == 1):  # Lightning starts the other processes itself
        return
    require(
        tasks == num_devices * num_nodes,
        f"Slurm runs {tasks} tasks, but trainer.devices={num_devices} on each of trainer.num_nodes={num_nodes} needs "
        f"{num_devices * num_nodes}: change srun --nodes and --ntasks-per-node",
    )
    require("SLURM_STEP_ID" in os.environ, f"the job has {tasks} tasks, but runs one process: start it with srun")


def how_it_ended(exit_code: int) -> str:
    """Return a message about the end of a killed process."""
    how = f"by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"with exit code {exit_code}"
    memory = " (perhaps because memory ran out)" if exit_code == -signal.SIGKILL else ""
    return f"the job's process ended {how}{memory}; run the command again"


def end_with(parent: int) -> None:
    """End this process soon after its parent has ended, so that jobs of a killed sweep do not run on.

    Args:
        parent: the process id of the parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
