"""`hydra/launcher=processes`: a sweep's jobs side by side on this machine, none of which ends another."""

import atexit
import logging
import math
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from adamct.errors import explain
from adamct.runs.folder import record_kill
from adamct.runs.job import STOPPING
from adamct.runs.processes import end_with, how_it_ended
from adamct.runs.threads import usable_cores
from adamct.sweeps.callback import job_failed
from adamct.values import PositiveInt

log = logging.getLogger(__name__)
SPAWN = multiprocessing.get_context("spawn")


class ProcessesLauncher(Launcher):
    """Runs jobs in worker processes, which take one after another.

    A job whose worker the system kills has failed, and the others go on. Workers end soon after this process does.

    Args:
        n_jobs: how many run at once; -1 is one for each core.
    """

    def __init__(self, n_jobs: PositiveInt | Literal[-1]):
        self.n_jobs = usable_cores() if n_jobs == -1 else n_jobs
        self.idle: list[Worker] = []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config
        atexit.register(self.close)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs and return how each ended; one that was killed has no score, not even NaN."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        waiting = deque(enumerate(job_overrides))
        running: dict[Connection, tuple[int, Worker]] = {}
        returns = [JobReturn() for _ in job_overrides]
        try:
            while waiting or running:
                while waiting and len(running) < self.n_jobs:
                    index, overrides = waiting.popleft()
                    log.info(f"\t#{initial_job_idx + index} : {' '.join(filter_overrides(overrides))}")
                    worker = self.worker()
                    running[worker.pipe] = index, worker
                    worker.begin(self.job(overrides, initial_job_idx + index))
                for worker in done([worker for _, worker in running.values()]):
                    index, _ = running.pop(worker.pipe)
                    returns[index] = worker.end()
                    if worker.process.is_alive():
                        self.idle.append(worker)
        finally:
            for _, worker in running.values():  # where this process itself is ended
                worker.process.kill()
        return returns

    def worker(self) -> "Worker":
        """Return a worker without a job."""
        while self.idle:
            if (worker := self.idle.pop()).process.is_alive():
                return worker
        return Worker(self.hydra_context, self.task_function, max(1, usable_cores() // self.n_jobs))

    def job(self, overrides: Sequence[str], number: int) -> DictConfig:
        """Compose a job's config."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
        return config

    def close(self) -> None:
        """Let the workers end, which wait for jobs."""
        for worker in self.idle:
            worker.pipe.close()
        self.idle.clear()


class Worker:
    """A process that runs jobs.

    Args:
        hydra_context: whose callbacks a job calls.
        task_function: the job, as the main module has it by its name.
        threads: how many a job computes with, unless the environment says it.
    """

    def __init__(self, hydra_context: HydraContext, task_function: TaskFunction, threads: int):
        self.pipe, theirs = SPAWN.Pipe()
        arguments = (theirs, hydra_context, task_function.__name__, threads)
        self.process = SPAWN.Process(target=work, args=arguments)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the process begins: Ctrl-C is for its jobs
        try:
            self.process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()

    def begin(self, config: DictConfig) -> None:
        """Give the process a job."""
        self.config = config
        with suppress(BrokenPipeError):  # it has just been killed, as `end` will find
            self.pipe.send(config)

    def end(self) -> JobReturn:
        """Return how the job ended, and leave word in its folder where it could not do so itself."""
        try:
            outcome = self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, ConnectionResetError):
            outcome = None
        if isinstance(outcome, JobReturn):
            return outcome
        if outcome is None:
            self.process.join()
            outcome = how_it_ended(self.process.exitcode or 0)
        self.record_failure(outcome)
        return JobReturn(overrides=self.config.hydra.overrides.task, status=JobStatus.COMPLETED)

    def record_failure(self, reason: str) -> None:
        """Leave a reason in the job's folder, unless the sweep was told to stop."""
        hydra_config = HydraConfig.instance()
        before = hydra_config.cfg
        hydra_config.set_config(self.config)  # for interpolations
        sweep = Path(self.config.hydra.sweep.dir)
        folder = sweep / self.config.hydra.sweep.subdir
        hydra_config.cfg = before
        if (sweep / STOPPING).exists():
            return
        job_failed(sweep, folder)
        record_kill(folder, reason)


def done(workers: Sequence[Worker]) -> list[Worker]:
    """Wait until some workers have ended their jobs or themselves, and return them."""
    while True:
        ready = wait([worker.pipe for worker in workers], timeout=1)
        # A killed worker's own children may keep its pipe open.
        ended = [worker for worker in workers if worker.pipe in ready or not worker.process.is_alive()]
        if ended:
            return ended


def work(pipe: Connection, hydra_context: HydraContext, task: str, threads: int) -> None:
    """Run the jobs that come through a pipe until it is closed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    end_with(parent.pid)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    setup_globals()
    Plugins.instance()  # which register resolvers
    task_function = getattr(sys.modules["__main__"], task).__wrapped__
    while True:
        try:
            config = pipe.recv()
        except EOFError:
            return
        pipe.send(outcome_of(config, hydra_context, task_function))


def outcome_of(config: DictConfig, hydra_context: HydraContext, task_function: TaskFunction) -> JobReturn | str:
    """Run a job and return its score, or the reason why it could not begin."""
    JobRuntime.instance().set("name", config.hydra.job.name)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run_job(task_function, config, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context=hydra_context)
    except KeyboardInterrupt:  # before or after what the job itself does about it
        return JobReturn(status=JobStatus.COMPLETED, _return_value=math.nan)
    except Exception as error:
        return explain(error) or repr(error)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
