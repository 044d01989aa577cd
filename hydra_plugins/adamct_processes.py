"""`hydra/launcher=processes`: a sweep's jobs side by side on this machine; a killed job does not end the others."""

import atexit
import logging
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal, TypeAlias

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from adamct.errors import explain
from adamct.runs.claim import Claim
from adamct.runs.folder import record_kill
from adamct.runs.job import add_failed_job, stop_file
from adamct.runs.processes import end_with, how_it_ended
from adamct.runs.threads import usable_cores
from adamct.values import PositiveInt

log = logging.getLogger(__name__)
SPAWN = multiprocessing.get_context("spawn")

Job: TypeAlias = tuple[int, Sequence[str]]
"""The number and the overrides of a job."""


class ProcessesLauncher(Launcher):
    """A launcher with worker processes. Each worker runs one job after another.

    If the system kills a worker, its job has failed and the other jobs continue. If this process ends, the workers end
    soon afterwards.

    Args:
        n_jobs: the number of jobs that run at once; -1 runs one for each core.
    """

    def __init__(self, n_jobs: PositiveInt | Literal[-1]):
        self.n_jobs = usable_cores() if n_jobs == -1 else n_jobs
        self.idle: list[Worker] = []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra passes, and close the idle workers at exit."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config
        atexit.register(self.close)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs and return their results in order. The result of a killed job has no score, not even NaN."""
        returns = [JobReturn() for _ in job_overrides]
        waiting = iter(enumerate(job_overrides, initial_job_idx))
        for number, returned in self.launch_each(lambda: next(waiting, None)):
            returns[number - initial_job_idx] = returned
        return returns

    def launch_each(self, next_job: Callable[[], Job | None]) -> Iterator[tuple[int, JobReturn]]:
        """Run jobs, and yield the number and the result of each as soon as it ends.

        Args:
            next_job: returns the next job; None if there is none for now. It is asked whenever a worker is idle, again
                and again, until it returns None while no job is running.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        running: dict[Connection, tuple[int, Worker]] = {}
        try:
            while True:
                while len(running) < self.n_jobs and (job := next_job()):
                    worker = self.take_worker()
                    running[worker.pipe] = job[0], worker
                    log.info(f"\t#{job[0]} : {' '.join(filter_overrides(job[1]))}")
                    worker.send_job(self.compose_job(*job))
                if not running:
                    return
                for worker in wait_for_workers([worker for _, worker in running.values()]):
                    number, _ = running.pop(worker.pipe)
                    result = worker.receive_result()
                    if worker.process.is_alive():
                        self.idle.append(worker)
                    yield number, result
        finally:
            for _, worker in running.values():  # none, unless an exception or a signal ends this process
                worker.process.kill()

    def take_worker(self) -> "Worker":
        """Return an idle worker, or a new one if there is none."""
        while self.idle:
            if (worker := self.idle.pop()).process.is_alive():
                return worker
        return Worker(self.hydra_context, self.task_function, max(1, usable_cores() // self.n_jobs))

    def compose_job(self, number: int, overrides: Sequence[str]) -> DictConfig:
        """Compose a job's config."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
        return config

    def close(self) -> None:
        """End the idle workers by closing their pipes."""
        for worker in self.idle:
            worker.pipe.close()
        self.idle.clear()


class Worker:
    """A process that runs jobs, and the end of a pipe to it.

    Args:
        hydra_context: Hydra's context, whose callbacks a job calls.
        task_function: the function that runs a job. The process finds it in the main module by its name.
        threads: the number of threads of a job, unless the environment sets OMP_NUM_THREADS.
    """

    def __init__(self, hydra_context: HydraContext, task_function: TaskFunction, threads: int):
        self.pipe, remote_end = SPAWN.Pipe()
        arguments = (remote_end, hydra_context, task_function.__name__, threads)
        self.process = SPAWN.Process(target=run_jobs, args=arguments)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process inherits this: Ctrl-C is for its jobs
        try:
            self.process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        remote_end.close()

    def send_job(self, config: DictConfig) -> None:
        """Send the process a job's config."""
        self.config = config
        with suppress(BrokenPipeError):  # the process was killed, which `receive_result` notices
            self.pipe.send(config)

    def receive_result(self) -> JobReturn:
        """Return the result of the job. If the job could not record its failure, record it in the job's folder."""
        try:
            result = self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, ConnectionResetError):
            result = None
        if isinstance(result, JobReturn):
            return result
        if result is None:
            self.process.join()
            result = how_it_ended(self.process.exitcode or 0)
        self.record_failure(result)
        return JobReturn(overrides=self.config.hydra.overrides.task, status=JobStatus.COMPLETED)

    def record_failure(self, reason: str) -> None:
        """Write the reason of a failure into the job's folder, unless the command was stopped."""
        hydra_config = HydraConfig.instance()
        before = hydra_config.cfg
        hydra_config.set_config(self.config)  # which the interpolation of `subdir` reads
        sweep = Path(self.config.hydra.sweep.dir)
        folder = sweep / self.config.hydra.sweep.subdir
        hydra_config.cfg = before
        if stop_file(self.config.hydra).exists() or Claim(folder).is_held():  # another command has continued the job
            return
        add_failed_job(sweep, folder)
        record_kill(folder, reason)


def wait_for_workers(workers: Sequence[Worker]) -> list[Worker]:
    """Wait a second for jobs or processes of some workers to end, and return the workers whose jobs have ended."""
    ready = wait([worker.pipe for worker in workers], timeout=1)
    # The child processes of a killed worker may keep its pipe open.
    return [worker for worker in workers if worker.pipe in ready or not worker.process.is_alive()]


def run_jobs(pipe: Connection, hydra_context: HydraContext, task: str, threads: int) -> None:
    """Run the jobs whose configs a pipe receives, until it is closed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    end_with(parent.pid)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    setup_globals()
    Plugins.instance()  # the import of the plugins registers resolvers
    task_function = getattr(sys.modules["__main__"], task).__wrapped__
    while True:
        try:
            config = pipe.recv()
        except EOFError:
            return
        pipe.send(result_of_job(config, hydra_context, task_function))


def result_of_job(config: DictConfig, hydra_context: HydraContext, task_function: TaskFunction) -> JobReturn | str:
    """Run a job and return its result, or the reason why it could not begin."""
    JobRuntime.instance().set("name", config.hydra.job.name)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run_job(task_function, config, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context=hydra_context)
    except KeyboardInterrupt:  # outside of the code that handles it in the job
        return JobReturn(status=JobStatus.COMPLETED, _return_value=math.nan)
    except Exception as error:
        return explain(error) or repr(error)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
