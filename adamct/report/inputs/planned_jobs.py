"""The jobs a sweep planned, to find those that have not started."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from adamct.report.inputs.names import label_of
from adamct.report.inputs.runs import Run, Sweep


def not_started(sweeps: Sequence[Sweep], runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Return the overrides of each planned job that has no folder, of sweeps that are products of their values."""
    started = {frozenset(run.overrides) for run in runs}
    jobs = {frozenset(job): job for sweep in sweeps for job in planned(sweep)}
    return [job for overrides, job in jobs.items() if overrides not in started]


def planned(sweep: Sweep) -> list[tuple[str, ...]]:
    """Return the jobs of a sweep; none where a search draws them, or they cannot be told without the configs."""
    if not sweep.config:
        return []
    hydra = sweep.config["hydra"]
    sweeper = hydra["sweeper"]
    if sweeper.get("jobs"):  # of listed cases
        return list(map(tuple, sweeper["jobs"]))
    if not str(sweeper.get("_target_")).endswith(".BasicSweeper"):
        return []
    overrides = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    overrides += hydra.get("overrides", {}).get("task", [])
    try:
        (batch,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(overrides), None)
    except HydraException:  # a glob over a config group's choices
        return []
    return [tuple(job) for job in batch]


def planned_labels(sweeps: Sequence[Sweep]) -> list[str | None]:
    """Return the labels that planned jobs are given, in their order; None of a job without one."""
    jobs = [job for sweep in sweeps for job in planned(sweep)]
    overrides = [next((override for override in job if override.startswith("label=")), None) for job in jobs]
    return list(dict.fromkeys(None if override is None else label_of_override(override) for override in overrides))


def label_of_override(override: str) -> str | None:
    """Return the label that a job's override ``label=...`` gives its run."""
    text = override.removeprefix("label=")
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return label_of(text)
    return label_of(text if parsed.is_sweep_override() else parsed.value())
