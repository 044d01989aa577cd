"""The frame of a sweep: a folder that is its own, a report at its end, and an exit code that tells of failed jobs."""

import hashlib
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from adamct.errors import InputError, explain, on_one_line
from adamct.run_folder import ERROR

STOPPING = ".stopping"
"""A file in the folder of a sweep that was told to stop: none of its jobs starts any more."""
REPORT_ERROR = "report_error.txt"
"""A file in the folder of a sweep whose report failed."""
WANDB = "adamct.wandb_run.WandbRun"
NAMELESS = ("sweep", "data_dir", "dataset.path", "resume", "save_every_n_steps", "threads", "logger", "trainer")
"""Keys whose values do not make another experiment, and so name no folder."""
NAMELESS_BELOW = ("logger.", "trainer.enable_progress_bar")
LONGEST = 120
"""Characters of a folder's name."""
IN_NAMES = str.maketrans({"/": ".", " ": "_", **dict.fromkeys("'\"\\${}")})
"""What stands for characters that paths, shells or interpolations would take for something else."""


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
            folder = name_sweep(config.hydra)
            self.lock = lock(folder)
            (folder / STOPPING).unlink(missing_ok=True)
            if config.hydra.runtime.choices["hydra/launcher"] != "basic":
                await_jobs_on_interrupt(folder)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Report, and end with an error that names the jobs that failed."""
        folder = Path(config.hydra.sweep.dir)
        with fatal():
            self.lock.release()
            exit_if_stopping(folder)
            if self.report:
                report_on(folder, config.logger)
        if failed := sorted(path.parent for path in folder.rglob(ERROR)):
            names = ", ".join(str(path.relative_to(folder)) for path in failed)
            sys.exit(f"error: {len(failed)} of the jobs in {folder} failed: {names}; their {ERROR} tells why")


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
    params = hydra.sweeper.get("params") or {}
    own = [override for key, override in given.items() if key not in params]
    fixed = [override for override in own if not override.is_sweep_override()]
    folder = Path(hydra.sweep.dir)
    if folder.name == "auto":
        choices = hydra.runtime.choices
        kind = [choices["sweep"] or choices["hydra/sweeper"]]
        varied = [override.get_key_element() for override in own if override.is_sweep_override()]
        folder = folder.with_name(sweep_name(kind, fixed, varied))
        hydra.sweep.dir = str(folder)
        hydra.overrides.hydra.append(f"hydra.sweep.dir='{folder}'")  # which jobs are composed with
    keys = ",".join(f"'{override.key_or_group}'" for override in fixed)
    hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys=[{keys}]")
    return folder


def sweep_name(kind: Iterable[str | None], fixed: Iterable[Override], varied: Iterable[str]) -> str:
    """A folder's name that tells a sweep: its kind, which keys it varies, what it keeps fixed."""
    told = [name for name in kind if name not in (None, "basic")] + list(varied)
    for override in fixed:
        key = override.get_key_element()
        if key not in NAMELESS and not key.startswith(NAMELESS_BELOW):
            told.append(str(override.input_line))
    return folder_name(",".join(told))


def folder_name(text: str) -> str:
    """One folder's name from overrides, whatever is in them."""
    name = text.replace(", ", ",").translate(IN_NAMES) or "run"
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


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
        from adamct.report.whole import report  # which takes seconds to import

        made = report([folder], folder / "report")
        if logger is not None and logger._target_ == WANDB:
            from adamct.report.wandb_report import log_to_wandb

            log_to_wandb(made, logger.project, logger.entity, logger.mode, logger.group or folder.name)
    except InputError as error:  # such as runs that must not be compared
        print(f"no report: {error}", file=sys.stderr)
    except Exception as error:
        failure.write_text(traceback.format_exc())
        why = explain(error) or f"{type(error).__name__} {on_one_line(error)}"
        again = f"python -m adamct.report {folder} makes it again"
        print(f"no report: {why}; {failure} tells where, and {again}", file=sys.stderr)


def await_jobs_on_interrupt(folder: Path) -> None:
    """On Ctrl-C start no more jobs and let those that run, in other processes, save their state; on another one end."""

    def stop(number: int, frame: FrameType | None) -> None:
        (folder / STOPPING).touch()
        print("\nwaiting for the jobs that run; once more ends without them")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, stop)


def exit_if_stopping(folder: Path) -> None:
    """End the process of a sweep that was told to stop, once its jobs have ended."""
    if (folder / STOPPING).exists():
        sys.exit(f"stopped: {folder}; given again, the command goes on")
