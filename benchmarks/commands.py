"""Measurements of whole commands: starting, reaching a score, and several jobs on one device."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.setup import ROOT, compose_config, device

PARTS = ("composing", "data and model", "trainer", "first step")
"""The parts of a start: Python and Hydra; torch, data and model; the trainer; the stage's beginning and one step."""
ENOUGH = 1.05
"""Doubling the jobs goes on while the throughput grows by at least this factor."""


def startup(side: str, *overrides: str) -> dict[str, Any]:
    """Measure starts per second: from the command to the first step, or of the plain script to its first batch."""
    data = compose_config(*overrides).dataset
    plain = [str(data[key]) for key in ("path", "min_user", "min_item", "max_len", "batch_size")]
    began = time.time()
    if side == "reference":
        output_of(start(["-m", "benchmarks.plain_data", *plain]))
        return {"per_second": 1 / (time.time() - began)}
    with TemporaryDirectory() as folder:
        lines = run(
            *overrides,
            f"hydra.run.dir={folder}",
            "trainer.enable_progress_bar=false",
            "stages=[fit]",
            "+hydra.callbacks.composed={_target_: benchmarks.composed.Composed}",
            "+callbacks.started={_target_: benchmarks.stops.Started}",
        ).splitlines()
    times = [began, *(float(line[3:]) for line in lines if line.startswith("at "))]
    parts = {name: after - before for name, (before, after) in zip(PARTS, pairwise(times), strict=True)}
    return {"per_second": 1 / (times[-1] - began), **parts}


def accuracy(score: float, *overrides: str) -> dict[str, Any]:
    """Measure the seconds from the command until a run validates at a score, with the whole process counted."""
    stop = "{_target_: benchmarks.stops.Reached, monitor: '${monitor}', mode: max, patience: 10000"
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        run(
            *overrides,
            f"hydra.run.dir={folder}",
            "trainer.enable_progress_bar=false",
            "stages=[fit]",
            f"+callbacks.reached={stop}, stopping_threshold: {score}}}",
        )
        seconds = time.perf_counter() - began
        results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    scores = results["history"][results["config"]["monitor"]]
    if max(scores) < score:
        sys.exit(f"error: --score {score} was not reached; the best was {max(scores):.4f}")
    return {"seconds": seconds, "epochs": len(scores), "score": scores[-1]}


def projected(epochs: int, training: dict[str, float], sampled: dict[str, float]) -> float:
    """Return the seconds that the plain way would take for as many epochs, at its measured rates."""
    return epochs * sum(side["all"] / side["per_second"] for side in (training, sampled))


def run(*overrides: str) -> str:
    """Return the output of `python run.py` with overrides."""
    return output_of(start(["run.py", *overrides]))


def start(command: list[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a process of Python and keep its output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def output_of(process: subprocess.Popen[str]) -> str:
    """Wait for a process and return its output; exit if it failed."""
    out, error = process.communicate()
    if process.returncode:
        sys.exit(f"error: {process.args}: {(error.strip().splitlines() or ['it failed'])[-1]}")
    return out


def jobs(*overrides: str) -> list[dict[str, float]]:
    """Measure examples per second of 1, 2, 4, ... training processes side by side, until more bring no more."""
    cores = os.cpu_count() or 1
    on_gpu = device(compose_config(*overrides)).type == "cuda"
    results: list[dict[str, float]] = []
    count = 1
    while on_gpu or count <= cores:
        command = ["-m", "benchmarks.measures", "training", "ours", *overrides]
        threads = max(1, cores // count)
        processes = [start(command, {"OMP_NUM_THREADS": str(threads)}) for _ in range(count)]
        total = sum(json.loads(output_of(process).splitlines()[-1])["per_second"] for process in processes)
        results.append({"jobs": count, "threads": threads, "per_second": total})
        if count > 1 and total < ENOUGH * results[-2]["per_second"]:
            break
        count *= 2
    return results
