"""``python -m benchmarks``: every measurement of both sides in turn, medians and ratios, as a table and as JSON."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

SIDES = ("ours", "reference")
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["adamct"], metavar="MODEL", help="names of conf/model")
    parser.add_argument(
        "--kinds", nargs="+", default=["training", "sampled", "full", "preparation"], help="what to measure"
    )
    parser.add_argument("--rounds", type=int, default=3, help="alternating runs of each side")
    parser.add_argument("--out", type=Path, default=Path("benchmark.json"), help="where the figures go")
    parser.add_argument("overrides", nargs="*", help="of the config, such as dataset=beauty dataset.path=FILE")
    given = parser.parse_args()
    cells = [(kind, model) for kind in given.kinds for model in given.models]
    rows = [
        row(kind, model, given.rounds, given.overrides) for kind, model in track(cells, "measuring", transient=True)
    ]
    given.out.write_text(json.dumps({"overrides": given.overrides, "rows": rows}, indent=2) + "\n")
    show(rows)


def row(kind: str, model: str, rounds: int, overrides: list[str]) -> dict[str, Any]:
    """One kind of one model: the medians of both sides, and of the ratio of each round."""
    measured = [[measure(kind, side, f"model={model}", *overrides) for side in SIDES] for _ in range(rounds)]
    ratios = [ours["per_second"] / theirs["per_second"] for ours, theirs in measured]
    sides = {
        side: {key: median(pair[place][key] for pair in measured) for key in ("per_second", "peak_mib")}
        for place, side in enumerate(SIDES)
    }
    return {"kind": kind, "model": model, "ratio": median(ratios), "ratios": ratios, **sides}


def measure(kind: str, side: str, *overrides: str) -> dict[str, float]:
    """One measurement, in a process of its own so that its memory is its own."""
    command = [sys.executable, "-m", "benchmarks.measures", kind, side, *overrides]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"error: {' '.join(command)}: {ended.stderr.strip().splitlines()[-1]}")
    return json.loads(ended.stdout.splitlines()[-1])


def show(rows: list[dict[str, Any]]) -> None:
    """The ratio first, then both sides' figures."""
    table = Table("", "model", "ratio", "ours /s", "plain /s", "ours MiB", "plain MiB", box=box.SIMPLE_HEAD)
    for found in rows:
        ours, theirs = (found[side] for side in SIDES)
        speeds = [f"{side['per_second']:,.0f}" for side in (ours, theirs)]
        memory = [f"{side['peak_mib']:,.0f}" for side in (ours, theirs)]
        table.add_row(found["kind"], found["model"], f"{found['ratio']:.1f}", *speeds, *memory)
    Console().print(table)


if __name__ == "__main__":
    main()
