"""Runs, sweeps and workers killed at random moments: the command given again loses nothing and repeats nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import CONF, TINY

KILLS = 10
"""Of sweeps and their workers, and as many of single runs."""
SWEEP = ("-m", *TINY, "hydra/launcher=processes", "model=sasrec,gru4rec", "seed=1,2")
RUN = (*TINY, "save_every_n_steps=1")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.integration,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up as Linux has them"),
]


class Marked:
    """Commands whose processes, and all that these start, can be told from others by their environment."""

    def __init__(self) -> None:
        self.mark = f"MARK={uuid.uuid4()}"

    def start(self, overrides: Sequence[str]) -> subprocess.Popen[bytes]:
        name, _, value = self.mark.partition("=")
        return subprocess.Popen(
            [sys.executable, str(CONF.parent / "run.py"), *overrides], env={**os.environ, name: value}
        )

    def processes(self) -> dict[int, str]:
        """Those that run, and their command lines."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_text()
            except OSError:  # it has ended, or is another user's
                continue
        return found

    def left(self) -> dict[int, str]:
        """Those that still run after a while."""
        deadline = time.monotonic() + 20
        while (running := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return running


def record(run: Path) -> dict[str, Any]:
    """What a run found, without what it took."""
    results = json.loads((run / "results.json").read_text())
    with np.load(run / "ranks.npz") as ranks:
        return {key: results[key] for key in ("metrics", "chosen", "seed")} | {
            name: ranks[name].tolist() for name in ranks.files
        }


def records(folder: Path) -> dict[str, dict[str, Any]]:
    return {str(path.parent.relative_to(folder)): record(path.parent) for path in folder.rglob("results.json")}


def written(folder: Path) -> dict[Path, int]:
    """When each run that has finished did so."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")}


def kill_and_give_again(overrides: tuple[str, ...], key: str, folder: Path, generator: random.Random) -> Counter[str]:
    """Kill a command's processes at random moments and give it again, in a folder of its own each time it finishes.

    Returns:
        How often what was killed.
    """
    marked, undisturbed = Marked(), folder / "undisturbed"
    began = time.monotonic()
    assert marked.start((*overrides, f"{key}={undisturbed}")).wait() == 0
    longest, kills, place = time.monotonic() - began, Counter[str](), 0
    while kills.total() < KILLS:
        place += 1
        here, code = folder / str(place), None
        while code != 0:
            before = written(here)
            process = marked.start((*overrides, f"{key}={here}"))
            try:
                code = process.wait(generator.uniform(0, longest) if kills.total() < KILLS else None)
            except subprocess.TimeoutExpired:
                workers = [pid for pid, line in marked.processes().items() if "multiprocessing.spawn" in line]
                victim = generator.choice(workers if workers and generator.random() < 0.5 else [process.pid])
                os.kill(victim, signal.SIGKILL)
                kills["worker" if victim in workers else "command"] += 1
                code = process.wait()
            assert before.items() <= written(here).items()
        assert records(here) == records(undisturbed)
        assert not list(here.rglob("error.txt"))
    assert not marked.left()
    return kills


@pytest.mark.parametrize(
    ("overrides", "key"), [(RUN, "hydra.run.dir"), (SWEEP, "hydra.sweep.dir")], ids=["runs", "sweeps"]
)
def test_any_kill_loses_nothing_and_leaves_no_process(overrides: tuple[str, ...], key: str, tmp_path: Path) -> None:
    kills = kill_and_give_again(overrides, key, tmp_path, random.Random(212))
    print(dict(kills))
    assert kills.total() == KILLS
