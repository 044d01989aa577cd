"""Ctrl-C and SIGTERM in a sweep whose jobs run in other processes."""

import logging
import signal
from pathlib import Path
from types import FrameType

log = logging.getLogger(__name__)

DEFAULT_HANDLERS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""Python's own handlers of the signals that end a process."""


def stop_on_signals(stop_file: Path) -> None:
    """Make the first signal create a command's stop file and the second one end this process.

    A stopped command starts no more jobs and waits until the running jobs have saved their states. Ctrl-C reaches these
    jobs too. A SIGTERM for this process alone does not, and they run to their ends.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        stop_file.touch()
        log.warning("waiting for the running jobs; another Ctrl-C or SIGTERM ends the sweep without them")
        restore_signal_handlers()

    for number in DEFAULT_HANDLERS:
        signal.signal(number, stop)


def let_ctrl_c_kill() -> None:
    """Let Ctrl-C end this process without an exception, which would keep it from closing its workers at exit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def restore_signal_handlers() -> None:
    """Let Ctrl-C and SIGTERM end this process again."""
    for number, handler in DEFAULT_HANDLERS.items():
        signal.signal(number, handler)
