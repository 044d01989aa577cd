"""The origin of a section's numbers: data, split, rankings, versions and machines."""

from collections.abc import Sequence
from typing import Any

from adamct.evaluation.names import candidates
from adamct.report.inputs.blocks import Block
from adamct.report.inputs.runs import Run
from adamct.report.outputs.page import distinct


def provenance(block: Block) -> list[tuple[str, str]]:
    """Describe the origin of a block's numbers, as names and values."""
    run = block.runs[0]
    count, excluded = (run.config.get(f"dataset.negatives.{key}") for key in ("count", "exclude"))
    items = run.results["dataset"]["num_items"]
    rankings = [f"{candidates(name, items, count, excluded)} ({name})" for name in block.rankings]
    return [
        *source(run),
        ("Split", split_text(run)),
        ("Rankings", "the target " + ", ".join(rankings)),
        ("Checkpoint", distinct(choice(run) for run in block.runs)),
        ("Tested metric", str(block.metric)),
        *machine(block.runs),
    ]


def choice(run: Run) -> str:
    """Describe which validation metric chose the weights of each ranking."""
    monitors = dict.fromkeys(choice["monitor"] for choice in run.results.get("chosen", {}).values())
    if None in monitors:
        return "the one that ckpt names, for all rankings"
    if not monitors and run.config.get("monitor") is None:
        return "of evaluated lists: not known"
    if len(monitors) < 2:
        return f"the best by {next(iter(monitors), run.config.get('monitor'))}"
    return f"for each ranking the best by its own validation metric ({', '.join(monitors)})"


def split_text(run: Run) -> str:
    """Describe the training, validation and test parts, and the share of test items tied with the item before."""
    held_out = run.results["dataset"].get("held_out", {})
    validated, tested = (boundary(run, held_out, f"{part}_from") for part in ("validation", "test"))
    if validated is None:
        split = "each user's last item is the test item, the one before it the validation item"
    else:
        split = f"by time: trained before {validated}, validated before {tested}, tested from then on"
    tied = held_out.get("test_tied")
    if tied is None:
        return split
    ties = run.config.get("dataset.ties")
    return f"{split}; {tied:.1%} of test items have the same time as the item before (ties: {ties})"


def boundary(run: Run, held_out: dict[str, Any], key: str) -> str | None:
    """Return the time from which items are held out, with its share if the config gives one; None without a time."""
    start = run.config.get(f"dataset.split.{key}")
    if start is None:
        return None
    is_share = isinstance(start, str) and key in held_out
    return f"{held_out[key]} ({start} of the interactions)" if is_share else str(start)


def source(run: Run) -> list[tuple[str, str]]:
    """Describe the data of a run."""
    data = run.results["dataset"]
    statistics = data.get("statistics", {})
    interactions = f", {statistics['interactions']:,} interactions" if "interactions" in statistics else ""
    return [
        ("Data", f"{data['num_users']:,} users, {data['num_items']:,} items{interactions}"),
        ("SHA-256 of the data", str(data["sha256"])),
        *([("SHA-256 of its source", data["source_sha256"])] if data.get("source_sha256") else []),
    ]


def machine(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Describe the versions and machines of some runs."""
    devices = (f"{run.results.get('device')}, threads: {run.results.get('threads')}" for run in runs)
    return [
        ("Versions", distinct(versions(run) for run in runs)),
        ("Device", distinct(devices)),
        ("Host", distinct(run.results.get("host") for run in runs)),
    ]


def versions(run: Run) -> str:
    """List the versions of a run's libraries."""
    return " ".join(f"{name} {version}" for name, version in run.results.get("versions", {}).items())
