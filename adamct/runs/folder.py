"""The folder of a run: who may write to it, and what it says to a command that is given again.

Imports nothing that takes long.
"""

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from adamct.errors import InputError, writing
from adamct.identity import EXECUTION, as_json, differences, omit
from adamct.runs.processes import is_first

if TYPE_CHECKING:
    import numpy as np

RESULTS, RANKS, ERROR = "results.json", "ranks.npz", "error.txt"
CHECKPOINTS = "checkpoints"
IDENTITY = ".identity.json"
"""The identity of the run whose results or checkpoints a folder holds."""
COEFFICIENTS, CORRELATIONS = "coefficients.npz", "item_correlations.npz"
"""What `adamct.analysis.mixture_coefficients` and `adamct.analysis.item_correlations` write."""


class RunFolder:
    """A folder that one run at a time uses, and that no other run changes once it holds results or checkpoints.

    Within the ``with`` block other processes are kept out. What describes the run is written at once where the folder
    holds nothing to lose. Otherwise it waits until `claim` has shown that the run is the one that the folder holds and,
    where that has finished, until the run goes on (`begin`) or has a new record (`own`).

    Args:
        path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self.lock = FileLock(path / ".lock")
        self.owned = False
        self.waiting: dict[str, str] = {}

    def __enter__(self) -> "RunFolder":
        if is_first():  # the other processes of the run follow it
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self.lock.acquire(blocking=False)
            except Timeout:
                raise InputError(
                    f"{self.path}: another run is going on there; wait for its end, or give another hydra.run.dir"
                ) from None
            if not self.holds_run():
                self.own()
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def holds_run(self) -> bool:
        """Whether there are results or checkpoints, which another run must not replace."""
        return (self.path / RESULTS).exists() or any((self.path / CHECKPOINTS).glob("*.ckpt"))

    def describe(self, name: str, text: str) -> None:
        """Write a file about the run, as soon as the folder is known to be the run's."""
        if self.owned:
            write_first(self.path / name, text)
        else:
            self.waiting[name] = text

    def claim(self, identity: dict[str, Any], stages: Sequence[str]) -> None:
        """Make sure that the folder is the run's, which from now on may replace what it holds.

        Raises:
            InputError: it holds the results or checkpoints of another run, or results of a stage that the run lacks.
        """
        if self.holds_run():
            held = self._identity()
            if held is None:
                raise InputError(
                    f"{self.path}: holds {RESULTS} or checkpoints, but not which run they are of; move them away, or "
                    "give another hydra.run.dir"
                )
            if difference := next(differences(held, identity), None):
                key, before, now = difference
                raise InputError(
                    f"{self.path}: holds a run with {key}={before}, but this one has {key}={now}; give the overrides "
                    "of that run, or another hydra.run.dir"
                )
        if not (self.path / RESULTS).exists():
            self.own()
        elif missing := set(self._stages()) - set(stages):
            raise InputError(
                f"{self.path}: holds results of {', '.join(sorted(missing))}, which stages=[{','.join(stages)}] leaves "
                "out; give these stages too, or another hydra.run.dir"
            )
        write_first(self.path / IDENTITY, json.dumps(identity, indent=2) + "\n")

    def begin(self) -> None:
        """Set the record of a finished run aside, whose weights training is about to change."""
        if is_first():
            for name in (RESULTS, RANKS):
                if (self.path / name).exists():
                    os.replace(self.path / name, self.path / f"earlier_{name}")
        self.own()

    def record_failure(self, error: BaseException) -> None:
        """Leave the traceback of what ended the run, unless the folder is or holds another run."""
        with suppress(InputError), self:  # where the run has not come to take it
            if self.owned:
                write_first(self.path / ERROR, "".join(traceback.format_exception(error)))

    def own(self) -> None:
        """Write what describes the run."""
        self.owned = True
        if is_first():
            (self.path / ERROR).unlink(missing_ok=True)
        for name, text in self.waiting.items():
            write_first(self.path / name, text)
        self.waiting.clear()

    def _identity(self) -> dict[str, Any] | None:
        held = read_json(self.path / IDENTITY)
        if not isinstance(held, dict):
            results = read_json(self.path / RESULTS)
            held = results.get("identity") if isinstance(results, dict) else None
        return held if isinstance(held, dict) else None

    def _stages(self) -> list[str]:
        results = read_json(self.path / RESULTS)
        try:
            return list(results["config"]["stages"])
        except (TypeError, KeyError):  # a damaged record, which is to be made again
            return []


def finished_before(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the results that a run of the same config left in a folder, None if none has finished there.

    Keys that say how a run is executed may differ, and it may have run more stages.
    """
    results = read_json(folder / RESULTS)
    try:
        before = omit(results["config"], EXECUTION)
        now = omit(as_json(config), EXECUTION)
        ran, wanted = before.pop("stages"), now.pop("stages")
        _ = results["metrics"][config["monitor"]]
    except (TypeError, KeyError, AttributeError):  # not the record of such a run
        return None
    return results if before == now and set(wanted) <= set(ran) else None


def record_kill(folder: Path, reason: str) -> None:
    """Leave the reason in the folder of a run that was killed and could not do so itself, unless it had finished."""
    print(f"failed: {folder}: {reason}", file=sys.stderr)
    if not (folder / RESULTS).exists():
        with suppress(OSError):  # where the folder itself is what the run could not write to
            write_first(folder / ERROR, f"{reason}\n")


def read_json(path: Path) -> Any:
    """Return what a file of JSON holds, None where there is none or it cannot be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def write_first(path: Path, text: str) -> None:
    """Write a file of the run's folder from the first of its processes, whole or not at all."""
    if is_first():
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            partial.write_text(text)
            os.replace(partial, path)


def write_arrays(path: Path, arrays: "Mapping[str, np.ndarray]") -> None:
    """Write a compressed ``.npz``, whole or not at all."""
    import numpy as np

    with writing(path.parent):
        partial = path.with_name(f".{path.name}")
        np.savez_compressed(partial, allow_pickle=False, **arrays)
        os.replace(partial, path)
