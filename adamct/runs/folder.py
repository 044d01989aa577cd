"""The folder of a run: the process that uses it, the identity of its run, and its results.

The module imports nothing slow.
"""

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamct.errors import InputError, explain, require, writing
from adamct.identity import EXECUTION, as_json, differences, omit
from adamct.runs.claim import Claim
from adamct.runs.processes import is_first

if TYPE_CHECKING:
    import numpy as np

RESULTS, RANKS, FACTS, ERROR = "results.json", "ranks.npz", "facts.npz", "error.txt"
CHECKPOINTS = "checkpoints"
IDENTITY = ".identity.json"
"""The identity of the run whose results or checkpoints a folder holds."""
COEFFICIENTS, CORRELATIONS = "coefficients.npz", "item_correlations.npz"
"""The files of `adamct.analysis.mixture_coefficients` and `adamct.analysis.item_correlations`."""


class InUse(InputError):
    """Another process runs in the folder."""


class RunFolder:
    """A folder that one run uses at a time. Once it holds results or checkpoints, no other run can change it.

    The ``with`` block holds the folder's claim. `describe` writes a file at once if the folder holds no run yet. If it
    does, the file waits until `claim` has compared the runs. If that run has finished, the file waits until the run
    continues (`begin`) or has a new record (`own`).

    Args:
        path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self.process_claim = Claim(path)
        self.owned = False
        self.waiting: dict[str, str] = {}

    def __enter__(self) -> "RunFolder":
        if is_first():  # for all processes of the run
            if not self.process_claim.take():
                raise InUse(
                    f"{self.path}: another run is using this folder; wait until it ends, or give another hydra.run.dir"
                )
            if not self.holds_run():
                self.own()
        return self

    def __exit__(self, *_: object) -> None:
        self.process_claim.release()

    def holds_run(self) -> bool:
        """Whether the folder holds results or checkpoints, which another run must not replace."""
        return (self.path / RESULTS).exists() or any((self.path / CHECKPOINTS).glob("*.ckpt"))

    def describe(self, name: str, text: str) -> None:
        """Write a file about the run as soon as the run owns the folder."""
        if self.owned:
            write_first(self.path / name, text)
        else:
            self.waiting[name] = text

    def claim(self, identity: dict[str, Any], stages: Sequence[str]) -> None:
        """Check that the folder belongs to the run, so that the run may replace its files.

        Raises:
            InputError: the folder holds results or checkpoints of another run, or results of further stages.
        """
        if self.holds_run():
            held = self._identity()
            if held is None:
                raise InputError(
                    f"{self.path}: holds {RESULTS} or checkpoints of an unknown run; move them away, or "
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
        """Rename the record of a finished run, because training is about to change its weights."""
        if is_first():
            for name in (RESULTS, RANKS):
                if (self.path / name).exists():
                    os.replace(self.path / name, self.path / f"earlier_{name}")
        self.own()

    def record_failure(self, error: BaseException) -> None:
        """Write the traceback of the error that ended the run, unless the folder belongs to another run.

        The last line, which reports quote, is the error message that a mistake of the user gets.
        """
        lines = traceback.format_exception(error)
        if line := explain(error):
            lines.append(f"\n{line}\n")
        with suppress(InputError, OSError), self:  # another process may hold the folder, or the disk be full
            if self.owned:
                write_first(self.path / ERROR, "".join(lines))

    def own(self) -> None:
        """Take the folder, and write the files that describe the run."""
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
        except (TypeError, KeyError):  # a damaged record, which the run replaces
            return []


def require_own(key: str, folder: str, replaced: Sequence[str], marks: Sequence[str]) -> None:
    """Refuse an empty path, and a folder in which somebody else's file would be replaced.

    Args:
        key: the config key of the folder.
        folder: the path of the folder, which need not exist.
        replaced: the files that would be replaced or deleted there.
        marks: the files of which a folder of this project has one.

    Raises:
        InputError: names the key or the folder.
    """
    require(folder != "", f"{key} is empty: give {key}=FOLDER")
    if not any(os.path.lexists(Path(folder, mark)) for mark in marks):
        for name in replaced:
            foreign = os.path.lexists(Path(folder, name))
            require(not foreign, f"{folder}: holds a {name} of something else; give another {key}")


def finished_before(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the results of a finished run of the same config in a folder, None if there are none.

    Keys of `EXECUTION` may differ, and the finished run may have more stages. A key that one of them lacks is null.
    """
    results = read_json(folder / RESULTS)
    try:
        before = omit(results["config"], EXECUTION)
        now = omit(as_json(config), EXECUTION)
        ran, wanted = before.pop("stages"), now.pop("stages")
        _ = results["metrics"][config["monitor"]]
    except (TypeError, KeyError, AttributeError):  # no record, or one without this monitor
        return None
    return results if not any(differences(before, now)) and set(wanted) <= set(ran) else None


def record_kill(folder: Path, reason: str) -> None:
    """Write the reason into the folder of a killed run, unless the run had finished."""
    print(f"failed: {folder}: {reason}", file=sys.stderr)
    if not (folder / RESULTS).exists():
        with suppress(OSError):  # the folder itself may not be writable
            write_first(folder / ERROR, f"{reason}\n")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, None if it does not exist or cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_first(path: Path, text: str) -> None:
    """Write a file of the run's folder from the run's first process, completely or not at all."""
    if is_first():
        with writing(path.parent):
            write_whole(path, text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def write_arrays(path: Path, arrays: "Mapping[str, np.ndarray]") -> None:
    """Write a compressed ``.npz``, completely or not at all."""
    import numpy as np

    with writing(path.parent):
        partial = path.with_name(f".{path.name}")
        np.savez_compressed(partial, allow_pickle=False, **arrays)
        os.replace(partial, path)
