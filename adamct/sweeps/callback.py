"""The frame of a sweep: a folder that is its own, a report at its end, and an exit code that tells of failed jobs."""

import math
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from adamct.errors import InputError, explain, on_one_line, require
from adamct.runs.folder import ERROR
from adamct.runs.job import STOPPING
from adamct.runs.schema import check_nodes
from adamct.sweeps.folders import sweep_name

REPORT_ERROR = "report_error.txt"
"""A file in the folder of a sweep whose report failed."""
FAILED = ".failed"
"""A file in the folder of a sweep with the folders of the jobs that failed since its command was given, a line each."""
ENDING = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""What Python does on signals that end it."""
WANDB = "adamct.loggers.WandbRun"


class SweepFrame(Callback):
    """Names and locks a sweep's folder when it starts, and reports on it when it ends.

    A sweep is what it keeps fixed and which keys it varies: given again, also with other values of these keys, it has
    the same folder, where the jobs that have finished are left as they are.

    Args:
        report: whether to write a report at the end.
    """

    def __init__(self, report: bool):
        self.report = report

    def __getstate__(self) -> dict[str, Any]:
        """Jobs in other processes get a frame without the lock, which is this process'."""
        return {"report": self.report}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Give the sweep its folder, for itself alone."""
        with fatal():
            for part in ("sweeper", "launcher"):
                check_nodes(f"hydra.{part}", cast(dict[str, Any], OmegaConf.to_container(config.hydra[part])))
            folder = name_sweep(config.hydra)
            self.lock = lock(folder)
            (folder / STOPPING).unlink(missing_ok=True)
            (folder / FAILED).unlink(missing_ok=True)
            if config.hydra.runtime.choices["hydra/launcher"] != "basic":
                await_jobs_on_signals(folder)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note a job that failed in the sweep's folder, in whatever process it ran."""
        folder = Path(config.hydra.sweep.dir)
        if config.hydra.mode != RunMode.MULTIRUN or (folder / STOPPING).exists():
            return
        score = job_return.return_value if job_return.status == JobStatus.COMPLETED else None
        if score is None or math.isnan(score):
            job_failed(folder, Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Report, and end with an error that names the jobs that failed."""
        folder = Path(config.hydra.sweep.dir)
        try:
            with fatal():
                if config.hydra.runtime.choices["hydra/launcher"] != "basic":
                    end_on_signals()
                exit_if_stopping(folder)
                if self.report:
                    report_on(folder, config.logger)
            failed = failed_jobs(folder)
        finally:  # the next command would forget who failed
            self.lock.release()
        if failed:
            names, why = ", ".join(failed), f"the lines above and their {ERROR} tell why"
            sys.exit(f"error: {len(failed)} of the jobs in {folder} failed: {names}; {why}")


@contextmanager
def fatal() -> Iterator[None]:
    """End the process with what Hydra, where a callback raises it, would only warn of."""
    try:
        yield
    except Exception as error:
        line = explain(error)
        if line is None:
            traceback.print_exc()
        sys.exit(f"error: {line or repr(error)}")


def name_sweep(hydra: DictConfig) -> Path:
    """Name a sweep's folder, if it has no name yet, and its jobs' by what varies, in the config of Hydra itself."""
    overrides = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    parsed = OverridesParser.create().parse_overrides(cast(list[str], overrides))
    given = {override.get_key_element(): override for override in parsed}  # the last of a key counts
    batch = hydra.sweeper.get("max_batch_size")
    require(batch is None or batch >= 1, f"hydra.sweeper.max_batch_size={batch}: must be at least 1, or null")
    of_cases = {text.partition("=")[0] for case in listed_cases(hydra.sweeper) for text in case}
    varying = {*(hydra.sweeper.get("params") or {}), *of_cases}
    own = [override for key, override in given.items() if key not in varying]
    fixed = [override for override in own if not override.is_sweep_override()]
    folder = Path(hydra.sweep.dir)
    if folder.name == "auto":
        choices = hydra.runtime.choices
        kind = [choices["sweep"] or choices["hydra/sweeper"]]
        varied = [override.get_key_element() for override in own if override.is_sweep_override()]
        folder = folder.with_name(sweep_name(kind, fixed, varied))
        hydra.sweep.dir = str(folder)
        hydra.overrides.hydra.append(f"hydra.sweep.dir='{folder}'")  # which jobs are composed with
    keys = ",".join(f"'{override.get_key_element()}'" for override in fixed)
    hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys=[{keys}]")
    return folder


def listed_cases(sweeper: DictConfig) -> list[list[str]]:
    """Return the cases of a sweep as they stand: interpolations in them are of a job's config.

    Raises:
        InputError: they are no lists of overrides.
    """
    cases = sweeper.get("cases", ListConfig([]))
    listed = cast(Any, OmegaConf.to_container(cases, resolve=False) if isinstance(cases, ListConfig) else [None])
    require(
        all(isinstance(case, list) for case in listed)
        and all(isinstance(text, str) for case in listed for text in case),
        f"hydra.sweeper.cases={cases}: must be lists of overrides, [['KEY=VALUE', ...], ...]",
    )
    return listed


def job_failed(sweep: Path, folder: Path) -> None:
    """Note that a job of a sweep failed: at the sweep's end it counts, whatever its folder holds."""
    with (sweep / FAILED).open("a") as file:  # one short write, which those of other processes do not cut in two
        file.write(f"{folder}\n")


def failed_jobs(sweep: Path) -> list[str]:
    """Return the folders, below the sweep's, of the jobs that failed since its command was given."""
    path = sweep / FAILED
    folders = path.read_text().splitlines() if path.exists() else []
    return sorted({os.path.relpath(folder, sweep) for folder in folders})


def lock(folder: Path) -> FileLock:
    """Take a sweep's folder for this process, or end it with one line that says who has it."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = FileLock(folder / ".lock")
    try:
        taken.acquire(blocking=False)
    except Timeout:
        sys.exit(f"error: {folder}: the same sweep is running there; wait for it, or give hydra.sweep.dir=OTHER")
    return taken


def report_on(folder: Path, logger: DictConfig | None) -> None:
    """Write a sweep's report and, where its runs are logged to W&B, log it beside them.

    The sweep has finished, whatever becomes of its report: an error is told in a line, and its traceback is kept.
    """
    failure = folder / REPORT_ERROR
    failure.unlink(missing_ok=True)
    try:
        from adamct.report.build import report  # which takes seconds to import

        made = report([folder], folder / "report")
        if logger is not None and logger._target_ == WANDB:
            from adamct.report.outputs.wandb_report import log_to_wandb

            log_to_wandb(made, logger.project, logger.entity, logger.mode, logger.group or folder.name)
    except InputError as error:  # such as runs that must not be compared
        print(f"no report: {error}", file=sys.stderr)
    except Exception as error:
        failure.write_text(traceback.format_exc())
        why = explain(error) or f"{type(error).__name__} {on_one_line(error)}"
        again = f"python -m adamct.report {folder} makes it again"
        print(f"no report: {why}; {failure} tells where, and {again}", file=sys.stderr)


def await_jobs_on_signals(folder: Path) -> None:
    """On Ctrl-C or SIGTERM start no more jobs, and let those in other processes save their states; the next one ends.

    A SIGTERM for this process alone does not reach these: they run to their ends.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        (folder / STOPPING).touch()
        print("\nwaiting for the jobs that run; once more ends without them")
        end_on_signals()

    for number in ENDING:
        signal.signal(number, stop)


def end_on_signals() -> None:
    """Let Ctrl-C and SIGTERM end this process, as they do in the beginning."""
    for number, handler in ENDING.items():
        signal.signal(number, handler)


def exit_if_stopping(folder: Path) -> None:
    """End the process of a sweep that was told to stop, once its jobs have ended."""
    if (folder / STOPPING).exists():
        sys.exit(f"stopped: {folder}; given again, the command goes on")
