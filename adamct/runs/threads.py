"""The number of threads of a run: that of the key, or one that suits the machine's load.

The last bit of a sum depends on the number of threads. A resumed run therefore keeps its number, which the file
`THREADS` of its folder holds.

The load is that of the whole machine, which may give a container too few threads. There, give ``threads=N``.

The functions import torch, because `let_threads_sleep` must run before torch is imported.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from adamct.errors import require
from adamct.values import PositiveInt

THREADS = "threads.txt"
"""The file in a run's folder that holds the number."""
ENOUGH = 1.3
"""The factor by which doubling the threads must speed up an operation."""
REPEATS = 5
"""The number of measurements for each number of threads. The fastest counts."""

Wanted: TypeAlias = PositiveInt | Literal["auto"]
Measure = Callable[[int], float]
"""Return the seconds of an operation with a number of threads."""


class Threads(NamedTuple):
    """A number of threads and the reason for it."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.number} {self.reason}"


def let_threads_sleep() -> None:
    """Make OpenMP's idle threads sleep, unless the environment sets how they wait.

    By default they spin, which takes cores from other processes and from the thread that they wait for. The setting
    has an effect only before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # of Intel's OpenMP


@contextmanager
def threads_of_run(wanted: Wanted, processes: int, folder: Path, resume: str | None) -> Iterator[Threads]:
    """Set the number of threads for torch and for the processes that the block starts.

    Args:
        wanted: the number for each process, or ``auto``.
        processes: how many processes of the run share the cores of this machine.
        folder: the run's folder.
        resume: the checkpoint to resume from, ``auto`` for that of the folder, None for a run from scratch.

    Raises:
        InputError: OMP_NUM_THREADS is not a whole number from 1.
    """
    choice = given(wanted) or begun_with(folder, resume) or from_environment()
    choice = choice or measured(usable_cores(), load(), processes)
    with computing_with(choice.number):
        yield choice


@contextmanager
def computing_with(number: int) -> Iterator[None]:
    """Set a number of threads for torch and for the processes that the block starts."""
    import torch

    before, in_environment = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(number)
    os.environ["OMP_NUM_THREADS"] = str(number)  # Lightning keeps torch's number if this is set
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if in_environment is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = in_environment


def given(wanted: Wanted) -> Threads | None:
    """Return the number of the key, None for ``auto``."""
    return None if wanted == "auto" else Threads(wanted, "(as asked)")


def begun_with(folder: Path, resume: str | None) -> Threads | None:
    """Return the number that a resumed run began with, None if it is unknown."""
    if resume is None:
        return None
    path = (folder if resume == "auto" else Path(resume).resolve().parents[1]) / THREADS
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8").strip()
    require(text.isdecimal() and int(text) >= 1, f"{path}: is not a number of threads; delete it or give threads=N")
    return Threads(int(text), "(as the run began)")


def from_environment() -> Threads | None:
    """Return the number in OMP_NUM_THREADS, which launchers set, None if it is not set.

    Raises:
        InputError: it is not a number.
    """
    text = os.environ.get("OMP_NUM_THREADS")
    if text is None:
        return None
    first = text.partition(",")[0].strip()  # the other numbers are for nested regions
    require(first.isdecimal() and int(first) >= 1, f"OMP_NUM_THREADS={text}: must be a whole number from 1")
    return Threads(int(first), "(OMP_NUM_THREADS)")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> float:
    """Return how many other threads compute now, 0 if the system does not say.

    The mean over the last minute also counts work that has just ended, such as an earlier run. Linux also reports how
    many threads run at this moment, including this one.
    """
    if not hasattr(os, "getloadavg"):
        return 0.0
    minute, path = os.getloadavg()[0], Path("/proc/loadavg")
    if not path.exists():
        return minute
    running: list[float] = []
    for _ in range(REPEATS):
        running.append(float(path.read_text(encoding="utf-8").split()[3].partition("/")[0]) - 1)
        time.sleep(0.01)
    return min(minute, sorted(running)[REPEATS // 2])


def measured(cores: int, load: float, processes: int = 1, measure: Measure | None = None) -> Threads:
    """Choose as many threads as there are free cores, or fewer if more threads are hardly faster.

    Args:
        cores: the number of cores that the process may use.
        load: how many of them other threads use.
        processes: how many processes share the free cores.
        measure: measures an operation; None for `Operation`.
    """
    free = max(1, round(cores - load) // processes)
    of_cores = f"of {cores} cores (load {load:.1f})"
    if free == 1:
        return Threads(1, of_cores)
    measure = measure or Operation()
    number, seconds = 1, measure(1)
    while number < free:
        more = min(2 * number, free)
        faster = seconds / (with_more := measure(more))
        # Less than twice as many threads need a smaller speed-up.
        if faster < 1 + (ENOUGH - 1) * (more / number - 1):
            return Threads(number, f"{of_cores[:-1]}; {more} are {faster:.1f} times as fast)")
        number, seconds = more, with_more
    return Threads(number, of_cores)


class Operation:
    """A part of a training step: a transformer's feed-forward layer and the logits of a few queries."""

    def __init__(self) -> None:
        import torch

        self.hidden, self.table = torch.ones(4096, 64), torch.full((64, 8192), 0.01)
        self.wide = torch.full((64, 256), 0.01)

    def __call__(self, number: int) -> float:
        """Return the seconds with a number of threads, the least of a few runs."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(number)
        try:
            with torch.no_grad():
                self.once()  # starts the threads
                return min(self.once() for _ in range(REPEATS))
        finally:
            torch.set_num_threads(before)

    def once(self) -> float:
        """Return the seconds of one run."""
        import torch.nn.functional as F

        began = time.perf_counter()
        hidden = F.layer_norm(self.hidden + F.gelu(self.hidden @ self.wide) @ self.wide.T, (64,))
        weight = (hidden[:256] @ self.table).exp_()  # (256, 8192)
        weight /= weight.sum(1, keepdim=True)
        _ = weight @ self.table.T
        return time.perf_counter() - began
