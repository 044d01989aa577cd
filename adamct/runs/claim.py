"""The claim of a process on a folder, by which other processes know whether it lives."""

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

BEAT_SECONDS = 10.0
"""The time after which a process renews the sign of life of its claim."""
STALE_SECONDS = 60.0
"""The age of a sign of life after which a process of another machine counts as dead."""


class Claim:
    """The right of one process at a time to write into a folder.

    It is a file lock, which the system releases as soon as the process ends. Some shared disks hide the locks of other
    machines. The process therefore also renews a file with its machine's name, and a lock that is free on another
    machine counts as held until that file is old.

    Args:
        folder: the folder. It is made if it does not exist.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.lock = FileLock(folder / ".lock")
        self.sign_of_life = folder / ".alive"
        self.ended = threading.Event()

    def __del__(self) -> None:
        """End the thread that renews the sign of life."""
        self.ended.set()

    def take(self) -> bool:
        """Take the claim, and return whether no other process holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._lock(seconds=0.2):  # longer than another process looks at it in `is_held`
            return False
        self.sign_of_life.write_text(socket.gethostname(), encoding="utf-8")
        self.ended = threading.Event()
        threading.Thread(target=renew, args=(self.sign_of_life, self.ended), daemon=True).start()
        return True

    def release(self) -> None:
        """Release the claim if this process holds it."""
        if self.lock.is_locked:
            self.ended.set()
            self.sign_of_life.unlink(missing_ok=True)
            self.lock.release()

    def is_held(self) -> bool:
        """Return whether a process holds the claim."""
        if not self._lock(seconds=0.0):
            return True
        self.lock.release()
        return False

    def _lock(self, seconds: float) -> bool:
        try:
            self.lock.acquire(timeout=seconds, poll_interval=0.02)
        except Timeout:
            return False
        if self._is_held_elsewhere():
            self.lock.release()
            return False
        return True

    def _is_held_elsewhere(self) -> bool:
        try:
            machine, renewed = self.sign_of_life.read_text(encoding="utf-8"), self.sign_of_life.stat().st_mtime
        except FileNotFoundError:
            return False
        os.utime(self.lock.lock_file)  # the time by the clock that also gave the sign of life its time
        now = Path(self.lock.lock_file).stat().st_mtime
        return machine != socket.gethostname() and now - renewed < STALE_SECONDS


def renew(sign_of_life: Path, ended: threading.Event) -> None:
    """Renew a sign of life until an event."""
    while not ended.wait(BEAT_SECONDS):
        with suppress(OSError):
            os.utime(sign_of_life)
