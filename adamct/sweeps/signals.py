"""Ctrl-C and SIGTERM in a sweep whose jobs run in other processes."""

import logging
import signal
import sys
from pathlib import Path
from types import FrameType

from adamct.runs.job import STOPPING

log = logging.getLogger(__name__)

DEFAULT_HANDLERS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""Python's own handlers of the signals that end a process."""


def stop_on_signals(folder: Path) -> None:
    """Make the first signal stop the sweep in a folder and the second one end this process.

    A stopped sweep starts no more jobs and waits until the running jobs have saved their states. Ctrl-C reaches these
    jobs too. A SIGTERM for this process alone does not, and they run to their ends.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        (folder / STOPPING).touch()
        log.warning("waiting for the running jobs; another Ctrl-C or SIGTERM ends the sweep without them")
        restore_signal_handlers()

    for number in DEFAULT_HANDLERS:
        signal.signal(number, stop)


def restore_signal_handlers() -> None:
    """Let Ctrl-C and SIGTERM end this process again."""
    for number, handler in DEFAULT_HANDLERS.items():
        signal.signal(number, handler)


def exit_if_stopping(folder: Path) -> None:
    """Exit if the sweep in a folder was stopped. Call this after its running jobs have ended."""
    if (folder / STOPPING).exists():
        sys.exit(f"stopped: {folder}; the same command continues it")
