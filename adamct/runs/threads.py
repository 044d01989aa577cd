"""The number of threads that a run computes with: the key's, or one that fits the machine's load.

Sums depend on the number of threads in their last bit. So a run that goes on keeps the number it began with, which its
folder holds in `THREADS`.

The load is the whole machine's. It may leave too few threads to a container; there give ``threads=N``.

torch is imported where it is needed: OpenMP reads how threads are to wait when torch is imported.
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
"""The file of a run's folder with the number."""
ENOUGH = 1.3
"""Twice the threads must make an operation this many times as fast."""
REPEATS = 5
"""Measurements of each number of threads; the fastest counts."""

Wanted: TypeAlias = PositiveInt | Literal["auto"]
Measure = Callable[[int], float]
"""Seconds that an operation takes with some threads."""


class Threads(NamedTuple):
    """A number of threads and the reason for it."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"threads: {self.number} {self.reason}"


def let_threads_sleep() -> None:
    """Tell OpenMP that threads without work sleep, unless the environment says how they wait.

    By default they spin, which takes the cores from other processes, and from the thread that they wait for. This has
    an effect only before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # of Intel's OpenMP


@contextmanager
def threads_of_run(wanted: Wanted, processes: int, folder: Path, resume: str | None) -> Iterator[Threads]:
    """Let torch, and the processes that the block starts, compute with the run's number of threads.

    Args:
        wanted: the number of each process, or ``auto``.
        processes: how many processes the run trains in on this machine, which share its cores.
        folder: the run's.
        resume: the checkpoint to go on from, ``auto`` for that of the folder, None for a run from scratch.

    Raises:
        InputError: the number in the environment is not a whole number from 1.
    """
    choice = given(wanted) or begun_with(folder, resume) or from_environment()
    choice = choice or measured(usable_cores(), load(), processes)
    with computing_with(choice.number):
        yield choice


@contextmanager
def computing_with(number: int) -> Iterator[None]:
    """Let torch, and the processes that the block starts, compute with some threads."""
    import torch

    before, in_environment = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(number)
    os.environ["OMP_NUM_THREADS"] = str(number)  # Lightning leaves torch's number alone where this is set
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if in_environment is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = in_environment


def given(wanted: Wanted) -> Threads | None:
    """Return the number that the key names, None where it is ``auto``."""
    return None if wanted == "auto" else Threads(wanted, "(as asked)")


def begun_with(folder: Path, resume: str | None) -> Threads | None:
    """Return the number that a run to go on with began with, None where nothing tells it."""
    if resume is None:
        return None
    path = (folder if resume == "auto" else Path(resume).resolve().parents[1]) / THREADS
    if not path.exists():
        return None
    text = path.read_text().strip()
    require(text.isdecimal() and int(text) >= 1, f"{path}: holds no number of threads; delete it or give threads=N")
    return Threads(int(text), "(as the run began)")


def from_environment() -> Threads | None:
    """Return the number in OMP_NUM_THREADS, which launchers set, None where it is not set.

    Raises:
        InputError: it is not a number.
    """
    text = os.environ.get("OMP_NUM_THREADS")
    if text is None:
        return None
    first = text.partition(",")[0].strip()  # the others are of nested regions
    require(first.isdecimal() and int(first) >= 1, f"OMP_NUM_THREADS={text}: must be a whole number from 1")
    return Threads(int(first), "(OMP_NUM_THREADS)")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> float:
    """Return how many other threads compute now, 0 where the system does not tell.

    The mean over the last minute counts work that has just ended, such as an earlier run; Linux also tells how many
    threads can run at this moment, this one among them.
    """
    if not hasattr(os, "getloadavg"):
        return 0.0
    minute, path = os.getloadavg()[0], Path("/proc/loadavg")
    if not path.exists():
        return minute
    running: list[float] = []
    for _ in range(REPEATS):
        running.append(float(path.read_text().split()[3].partition("/")[0]) - 1)
        time.sleep(0.01)
    return min(minute, sorted(running)[REPEATS // 2])


def measured(cores: int, load: float, processes: int = 1, measure: Measure | None = None) -> Threads:
    """Choose as many threads as cores are free, or fewer where more bring too little.

    Args:
        cores: the cores that the process may use.
        load: how many of them other threads use.
        processes: how many processes share the free cores.
        measure: the seconds of an operation; None measures one of a training step's size.
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
        # A step to fewer than twice as many threads need not bring as much.
        if faster < 1 + (ENOUGH - 1) * (more / number - 1):
            return Threads(number, f"{of_cores[:-1]}; {more} are {faster:.1f} times as fast)")
        number, seconds = more, with_more
    return Threads(number, of_cores)


class Operation:
    """A piece of a training step: a transformer's feed-forward layer and the logits of a few queries."""

    def __init__(self) -> None:
        import torch

        self.hidden, self.table = torch.ones(4096, 64), torch.full((64, 8192), 0.01)
        self.wide = torch.full((64, 256), 0.01)

    def __call__(self, number: int) -> float:
        """Return the seconds that it takes with some threads, the least of a few times."""
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
        """Return the seconds of one time."""
        import torch.nn.functional as F

        began = time.perf_counter()
        hidden = F.layer_norm(self.hidden + F.gelu(self.hidden @ self.wide) @ self.wide.T, (64,))
        weight = (hidden[:256] @ self.table).exp_()  # (256, 8192)
        weight /= weight.sum(1, keepdim=True)
        _ = weight @ self.table.T
        return time.perf_counter() - began
