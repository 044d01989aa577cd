"""``python -m benchmarks``: measure both sides in turn, and report medians and ratios as a table and as JSON."""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adamct.runs.provenance import provenance
from adamct.runs.threads import computing_with, from_environment, let_threads_sleep, load, measured, usable_cores
from benchmarks.commands import accuracy, jobs, output_of, projected, start, startup
from benchmarks.setup import ROOT, build, compose_config, device

SIDES = ("ours", "reference")


def main() -> None:
    """Parse the command line and choose the number of threads of both sides."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["adamct"], metavar="MODEL", help="names of conf/model, or all")
    kinds = ["training", "sampled", "full", "unseen", "preparation"]
    parser.add_argument("--kinds", nargs="+", default=kinds, help="these, startup, loop, accuracy, jobs")
    parser.add_argument("--rounds", type=int, default=3, help="alternating runs of each side")
    parser.add_argument("--score", type=float, default=0.36, help="the monitored score that accuracy trains to")
    parser.add_argument("--out", type=Path, default=Path("benchmark.json"), help="the JSON file for the figures")
    parser.add_argument("overrides", nargs="*", help="of the config, such as dataset=beauty dataset.path=FILE")
    arguments = parser.parse_args()
    let_threads_sleep()
    choice = from_environment() or measured(usable_cores(), load())
    print(choice)
    with computing_with(choice.number):  # the processes started here inherit it
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Measure what the command line asks for, print it and write it."""
    models = every_model(*arguments.overrides) if arguments.models == ["all"] else arguments.models
    cells = [(kind, model) for kind in arguments.kinds for model in models]
    rows: list[dict[str, Any]] = []
    for kind, model in track(cells, "measuring", transient=True):
        overrides = [f"model={model}", *arguments.overrides]
        if kind == "jobs":
            figures = side_by_side(*overrides)
        elif kind == "accuracy":
            figures = [to_score(arguments.score, *overrides)]
        else:
            figures = [compare_sides(kind, arguments.rounds, *overrides)]
        rows += [{"kind": kind, "model": model, **row} for row in figures]
    facts = machine(*arguments.overrides)
    arguments.out.write_text(
        json.dumps({**facts, "overrides": arguments.overrides, "rows": rows}, indent=2) + "\n", encoding="utf-8"
    )
    show(rows)


def every_model(*overrides: str) -> list[str]:
    """Return the models of `conf/model` that have parameters."""
    names = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
    return [name for name in names if any(True for _ in build(f"model={name}", *overrides)[2].parameters())]


def machine(*overrides: str) -> dict[str, Any]:
    """Return the facts of the machine and of the code."""
    where = device(compose_config(*overrides))
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
    return {"cpu": cpu, "cuda": torch.version.cuda, **provenance(where)}


def compare_sides(kind: str, rounds: int, *overrides: str) -> dict[str, Any]:
    """Measure one kind of one model: the medians of both sides, and the median of the rounds' ratios."""
    pairs = [[measure(kind, side, *overrides) for side in SIDES] for _ in range(rounds)]
    ratios = [ours["per_second"] / theirs["per_second"] for ours, theirs in pairs]
    sides = {
        side: {key: median(pair[index][key] for pair in pairs) for key in pairs[0][index]}
        for index, side in enumerate(SIDES)
    }
    return {"ratio": median(ratios), "ratios": ratios, **sides}


def measure(kind: str, side: str, *overrides: str) -> dict[str, float]:
    """Measure in a new process, so that its peak memory is that of this measurement."""
    if kind == "startup":
        return startup(side, *overrides)
    output = output_of(start(["-m", "benchmarks.measures", kind, side, *overrides]))
    return json.loads(output.splitlines()[-1])


def to_score(score: float, *overrides: str) -> dict[str, Any]:
    """Train to a score, beside the plain way's time for the same epochs, projected from its rates."""
    ours = accuracy(score, *overrides)
    rates = {kind: measure(kind, "reference", *overrides) for kind in ("training", "sampled")}
    seconds = projected(ours["epochs"], **rates)
    theirs = {"seconds": seconds, "per_second": 1 / seconds, "projected": True, **rates}
    return {"ratio": seconds / ours["seconds"], "ours": ours | {"per_second": 1 / ours["seconds"]}, "reference": theirs}


def side_by_side(*overrides: str) -> list[dict[str, Any]]:
    """Compare several jobs at once with one alone."""
    alone, *_ = results = jobs(*overrides)
    return [{"ratio": job["per_second"] / alone["per_second"], "ours": job, "reference": alone} for job in results]


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table: the ratio first, then the figures of both sides."""
    table = Table("ratio", "", "model", "ours /s", "plain /s", "ours MiB", "plain MiB", "", box=box.SIMPLE_HEAD)
    for row in rows:
        sides = [row[side] for side in SIDES]
        speeds = [f"{side['per_second']:,.4g}" for side in sides]
        memory = [f"{side['peak_mib']:,.0f}" if side.get("peak_mib") is not None else "" for side in sides]
        table.add_row(f"{row['ratio']:.2f}", row["kind"], row["model"], *speeds, *memory, remark(row))
    Console().print(table)


def remark(row: dict[str, Any]) -> str:
    """Return a row's remark, empty for most kinds."""
    ours, theirs = (row[side] for side in SIDES)
    if row["kind"] == "accuracy":
        return f"{ours['epochs']} epochs, {ours['seconds']:.0f} s; plain: {theirs['seconds']:.0f} s, projected"
    if row["kind"] == "jobs":
        return f"{ours['jobs']} jobs of {ours['threads']} threads beside 1"
    if row["kind"] == "loop":
        step, epoch = (ours[key] - theirs[key] for key in ("step_ms", "epoch_ms"))
        return f"Lightning adds {step:.2f} ms a step, {epoch:.0f} ms an epoch"
    return ""


if __name__ == "__main__":
    main()
