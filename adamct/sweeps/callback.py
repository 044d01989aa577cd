"""The Hydra callback of every sweep. It takes the sweep's folder, notes failed jobs, and reports at the end."""

import math
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from adamct.errors import InputError, explain, on_one_line, require
from adamct.runs.folder import ERROR
from adamct.runs.job import STOPPING
from adamct.runs.schema import check_nodes
from adamct.sweeps.folders import FAILED, add_failed_job, lock, name_sweep, read_failed_jobs
from adamct.sweeps.signals import exit_if_stopping, restore_signal_handlers, stop_on_signals

REPORT_ERROR = "report_error.txt"
"""A file in a sweep's folder with the traceback of its report, if the report failed."""


class SweepCallback(Callback):
    """The start and the end of a sweep: its folder is named and locked, and a report is written.

    A sweep is identified by the overrides that it keeps fixed and the keys that it varies. The same command, also with
    other values of these keys, has the same folder. Jobs that finished there before are kept.

    Args:
        report: whether to write a report at the end.
    """

    def __init__(self, report: bool):
        self.report = report

    def __getstate__(self) -> dict[str, Any]:
        """Leave the lock out of copies for jobs in other processes: it belongs to this process."""
        return {"report": self.report}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the sweep's config, and lock its folder."""
        with exit_on_error():
            for part in ("sweeper", "launcher"):
                check_nodes(f"hydra.{part}", cast(dict[str, Any], OmegaConf.to_container(config.hydra[part])))
            batch = config.hydra.sweeper.get("max_batch_size")
            require(batch is None or batch >= 1, f"hydra.sweeper.max_batch_size={batch}: must be at least 1, or null")
            folder = name_sweep(config.hydra)
            self.lock = lock(folder)
            (folder / STOPPING).unlink(missing_ok=True)
            (folder / FAILED).unlink(missing_ok=True)
            if has_parallel_jobs(config):
                stop_on_signals(folder)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note a failed job in the sweep's folder. This may run in another process."""
        folder = Path(config.hydra.sweep.dir)
        if config.hydra.mode != RunMode.MULTIRUN or (folder / STOPPING).exists():
            return
        score = job_return.return_value if job_return.status == JobStatus.COMPLETED else None
        if score is None or math.isnan(score):
            add_failed_job(folder, Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the report. Exit with an error that names the failed jobs, if there are any."""
        folder = Path(config.hydra.sweep.dir)
        try:
            with exit_on_error():
                if has_parallel_jobs(config):
                    restore_signal_handlers()
                exit_if_stopping(folder)
                if self.report:
                    write_report(folder, config.logger.values())
            failed = read_failed_jobs(folder)
        finally:  # only after the failed jobs were read: the next command deletes their list
            self.lock.release()
        if failed:
            names, reasons = ", ".join(failed), f"see the lines above and their {ERROR}"
            sys.exit(f"error: {len(failed)} of the jobs in {folder} failed: {names}; {reasons}")


def has_parallel_jobs(config: DictConfig) -> bool:
    """Return whether the launcher runs jobs in other processes."""
    return config.hydra.runtime.choices["hydra/launcher"] != "basic"


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Exit on an exception of a callback. Hydra itself would only print a warning."""
    try:
        yield
    except Exception as error:
        line = explain(error)
        if line is None:
            traceback.print_exc()
        sys.exit(f"error: {line or repr(error)}")


def write_report(folder: Path, loggers: Iterable[DictConfig]) -> None:
    """Write a sweep's report, and log it to W&B if the runs are logged there.

    An error is printed in one line and does not fail the sweep, whose jobs have finished.

    Args:
        folder: the sweep's folder.
        loggers: the configs of the runs' loggers.
    """
    error_file = folder / REPORT_ERROR
    error_file.unlink(missing_ok=True)
    try:
        from adamct.loggers.wandb_run import WandbRun  # these imports take seconds
        from adamct.report.build import report

        result = report([folder], folder / "report")
        for logger in loggers:
            if issubclass(get_class(logger._target_), WandbRun):
                from adamct.report.outputs.wandb_report import log_to_wandb

                log_to_wandb(result, logger.project, logger.entity, logger.mode, logger.group or folder.name)
    except InputError as error:  # such as for runs that must not be compared
        print(f"no report: {error}", file=sys.stderr)
    except Exception as error:
        error_file.write_text(traceback.format_exc())
        reason = explain(error) or f"{type(error).__name__} {on_one_line(error)}"
        command = f"python -m adamct.report {folder}"
        print(f"no report: {reason}; the traceback is in {error_file}; to try again: {command}", file=sys.stderr)
