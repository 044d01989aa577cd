"""``python -m benchmarks``: every measurement of both sides in turn, medians and ratios, as a table and as JSON."""

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
from benchmarks.commands import ROOT, accuracy, finished, jobs, projected, started, startup
from benchmarks.measures import composed, configured, device

SIDES = ("ours", "reference")


def main() -> None:
    """Parse the command line and choose the number of threads of both sides."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["adamct"], metavar="MODEL", help="names of conf/model, or all")
    kinds = ["training", "sampled", "full", "unseen", "preparation"]
    parser.add_argument("--kinds", nargs="+", default=kinds, help="those, startup, loop, accuracy, jobs")
    parser.add_argument("--rounds", type=int, default=3, help="alternating runs of each side")
    parser.add_argument("--score", type=float, default=0.36, help="the monitored score that accuracy goes to")
    parser.add_argument("--out", type=Path, default=Path("benchmark.json"), help="where the figures go")
    parser.add_argument("overrides", nargs="*", help="of the config, such as dataset=beauty dataset.path=FILE")
    given = parser.parse_args()
    let_threads_sleep()
    choice = from_environment() or measured(usable_cores(), load())
    print(choice)
    with computing_with(choice.number):  # as all processes do that are started here
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Measure what the command line asks for, print and write it."""
    models = every_model(*given.overrides) if given.models == ["all"] else given.models
    cells = [(kind, model) for kind in given.kinds for model in models]
    rows: list[dict[str, Any]] = []
    for kind, model in track(cells, "measuring", transient=True):
        overrides = [f"model={model}", *given.overrides]
        if kind == "jobs":
            found = side_by_side(*overrides)
        elif kind == "accuracy":
            found = [to_score(given.score, *overrides)]
        else:
            found = [row(kind, given.rounds, *overrides)]
        rows += [{"kind": kind, "model": model, **measured} for measured in found]
    facts = machine(*given.overrides)
    given.out.write_text(json.dumps({**facts, "overrides": given.overrides, "rows": rows}, indent=2) + "\n")
    show(rows)


def every_model(*overrides: str) -> list[str]:
    """The models of `conf/model` that have something to train."""
    names = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
    return [name for name in names if any(True for _ in composed(f"model={name}", *overrides)[2].parameters())]


def machine(*overrides: str) -> dict[str, Any]:
    """What the figures were measured on, and of which commit."""
    where = device(configured(*overrides))
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
    return {"cpu": cpu, "cuda": torch.version.cuda, **provenance(where)}


def row(kind: str, rounds: int, *overrides: str) -> dict[str, Any]:
    """One kind of one model: the medians of both sides, and of the ratio of each round."""
    measured = [[measure(kind, side, *overrides) for side in SIDES] for _ in range(rounds)]
    ratios = [ours["per_second"] / theirs["per_second"] for ours, theirs in measured]
    sides = {
        side: {key: median(pair[place][key] for pair in measured) for key in measured[0][place]}
        for place, side in enumerate(SIDES)
    }
    return {"ratio": median(ratios), "ratios": ratios, **sides}


def measure(kind: str, side: str, *overrides: str) -> dict[str, float]:
    """One measurement, in a process of its own so that its memory is its own."""
    if kind == "startup":
        return startup(side, *overrides)
    output = finished(started(["-m", "benchmarks.measures", kind, side, *overrides]))
    return json.loads(output.splitlines()[-1])


def to_score(score: float, *overrides: str) -> dict[str, Any]:
    """One run to a score, beside the plain way's time for the same epochs, projected from its rates."""
    ours = accuracy(score, *overrides)
    rates = {kind: measure(kind, "reference", *overrides) for kind in ("training", "sampled")}
    seconds = projected(ours["epochs"], **rates)
    theirs = {"seconds": seconds, "per_second": 1 / seconds, "projected": True, **rates}
    return {"ratio": seconds / ours["seconds"], "ours": ours | {"per_second": 1 / ours["seconds"]}, "reference": theirs}


def side_by_side(*overrides: str) -> list[dict[str, Any]]:
    """Several jobs at once beside one alone."""
    found = jobs(*overrides)
    alone = found[0]
    return [{"ratio": one["per_second"] / alone["per_second"], "ours": one, "reference": alone} for one in found]


def show(rows: list[dict[str, Any]]) -> None:
    """The ratio first, then both sides' figures."""
    table = Table("ratio", "", "model", "ours /s", "plain /s", "ours MiB", "plain MiB", "", box=box.SIMPLE_HEAD)
    for found in rows:
        sides = [found[side] for side in SIDES]
        speeds = [f"{side['per_second']:,.4g}" for side in sides]
        memory = [f"{side['peak_mib']:,.0f}" if side.get("peak_mib") is not None else "" for side in sides]
        table.add_row(f"{found['ratio']:.2f}", found["kind"], found["model"], *speeds, *memory, remark(found))
    Console().print(table)


def remark(found: dict[str, Any]) -> str:
    """What else a row is to be read with."""
    ours, theirs = (found[side] for side in SIDES)
    if found["kind"] == "accuracy":
        return f"{ours['epochs']} epochs, {ours['seconds']:.0f} s; plain: {theirs['seconds']:.0f} s, projected"
    if found["kind"] == "jobs":
        return f"{ours['jobs']} jobs of {ours['threads']} threads beside 1"
    if found["kind"] == "loop":
        step, epoch = (ours[key] - theirs[key] for key in ("step_ms", "epoch_ms"))
        return f"Lightning adds {step:.2f} ms a step, {epoch:.0f} ms an epoch"
    return ""


if __name__ == "__main__":
    main()
