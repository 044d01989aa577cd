"""The Hydra callback of every sweep. It starts or joins the sweep, notes failed jobs, and reports at the end."""

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
from adamct.runs.folder import ERROR, require_own
from adamct.runs.job import COMMANDS, add_failed_job, read_failed_jobs, stop_file
from adamct.runs.schema import check_nodes
from adamct.sweeps.commands import enter, exit_if_stopping, leave, living, turn
from adamct.sweeps.folders import name_sweep
from adamct.sweeps.signals import restore_signal_handlers, stop_on_signals

REPORT_ERROR = "report_error.txt"
"""A file in a sweep's folder with the traceback of its report, if the report failed."""


class SweepCallback(Callback):
    """The start and the end of a command that runs a sweep, alone or together with others.

    A sweep is identified by the overrides that it keeps fixed and the keys that it varies. The same command, also with
    other values of these keys, has the same folder. Jobs that finished there before are kept. The same command joins
    the sweep while it runs. The last command to end writes the report.

    Args:
        report: whether to write a report at the end.
        command: the command's name. It is set when the command starts, for its jobs.
    """

    def __init__(self, report: bool, command: str | None):
        self.report = report
        del command  # `adamct.sweeps.commands.enter` sets it in the config

    def __getstate__(self) -> dict[str, Any]:
        """Leave the claim out of copies for jobs in other processes: it belongs to this process."""
        return {"report": self.report}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the sweep's config, and start or join the sweep."""
        with exit_on_error():
            for part in ("sweeper", "launcher"):
                check_nodes(f"hydra.{part}", cast(dict[str, Any], OmegaConf.to_container(config.hydra[part])))
            batch = config.hydra.sweeper.get("max_batch_size")
            require(batch is None or batch >= 1, f"hydra.sweeper.max_batch_size={batch}: must be at least 1, or null")
            folder = name_sweep(config.hydra)
            require_own("hydra.sweep.dir", config.hydra.sweep.dir, ("multirun.yaml",), (".lock", COMMANDS))
            run_side_by_side(config)
            folder.mkdir(parents=True, exist_ok=True)
            with turn(folder):
                self.claim = enter(config)
            if has_parallel_jobs(config):
                stop_on_signals(stop_file(config.hydra))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note a failed job in the sweep's folder. This may run in another process."""
        folder = Path(config.hydra.sweep.dir)
        if config.hydra.mode != RunMode.MULTIRUN or stop_file(config.hydra).exists():
            return
        score = job_return.return_value if job_return.status == JobStatus.COMPLETED else None
        if score is None or (isinstance(score, float) and math.isnan(score)):
            add_failed_job(folder, Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the report if this is the last command. Exit with an error that names the failed jobs, if any."""
        folder = Path(config.hydra.sweep.dir)
        with exit_on_error():
            if has_parallel_jobs(config):
                restore_signal_handlers()
            with turn(folder):
                try:
                    exit_if_stopping(config)
                    if self.report and len(living(folder)) == 1:
                        write_report(folder, config.logger.values())
                    failed = read_failed_jobs(folder)
                finally:  # only after the failed jobs were read: the next command deletes their list
                    leave(self.claim)
        if failed:
            names, reasons = ", ".join(failed), f"see the lines above and their {ERROR}"
            sys.exit(f"error: {len(failed)} of the jobs in {folder} failed: {names}; {reasons}")


def run_side_by_side(config: DictConfig) -> None:
    """Give a search of several trials at once the launcher of processes, if no launcher is chosen."""
    if (config.hydra.sweeper.get("n_jobs") or 1) == 1 or has_parallel_jobs(config):
        return
    config.hydra.launcher = {
        "_target_": "hydra_plugins.adamct_processes.ProcessesLauncher",
        "n_jobs": config.hydra.sweeper.n_jobs,
    }
    config.hydra.runtime.choices["hydra/launcher"] = "processes"
    config.hydra.overrides.hydra.append("hydra/launcher=processes")  # the jobs are composed with these


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
        error_file.write_text(traceback.format_exc(), encoding="utf-8")
        reason = explain(error) or f"{type(error).__name__} {on_one_line(error)}"
        command = f"python -m adamct.report {folder}"
        print(f"no report: {reason}; the traceback is in {error_file}; to try again: {command}", file=sys.stderr)
