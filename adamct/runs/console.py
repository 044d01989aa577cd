"""The console of a run: standard output, which jobs that run side by side share.

A run says everything through the loggers of `adamct`: `conf/hydra/job_logging/run.yaml` sends messages to the console
and to the run's log file, and those of `FILE_LOG` to the file alone.
"""

import io
import logging
import sys

FILE_LOG = logging.getLogger("adamct.file")
"""The logger of messages that only the run's log file shows."""


def accept_all_characters() -> None:
    """Show a question mark for a character that the console's encoding lacks, instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a notebook has another class, which takes all characters
        sys.stdout.reconfigure(errors="replace")


def mute() -> None:
    """Show only warnings on the console, because other jobs write there at the same time."""
    for handler in handlers():
        handler.setLevel(logging.WARNING)


def is_live() -> bool:
    """Whether the console is a terminal that this run has to itself, so that it can show a progress bar."""
    from rich import get_console

    return get_console().is_interactive and any(handler.level <= logging.INFO for handler in handlers())


def handlers() -> list[logging.Handler]:
    """Return the handlers that write log messages to the console."""
    return [handler for handler in logging.root.handlers if type(handler) is logging.StreamHandler]


def duration(seconds: float) -> str:
    """Return a duration in words, such as ``2 h 5 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
