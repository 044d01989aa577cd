"""The planned jobs of a sweep, and those of them that have not started."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from adamct.report.inputs.names import label_of
from adamct.report.inputs.runs import Run, Sweep


def not_started(sweeps: Sequence[Sweep], runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Return the overrides of each planned job that has no run."""
    started = {frozenset(run.overrides) for run in runs}
    jobs = {frozenset(job): job for sweep in sweeps for job in planned(sweep)}
    return [job for overrides, job in jobs.items() if overrides not in started]


def planned(sweep: Sweep) -> list[tuple[str, ...]]:
    """Return the overrides of a sweep's jobs; empty if a search draws them, or if listing them needs the configs."""
    if not sweep.config:
        return []
    hydra = sweep.config["hydra"]
    sweeper = hydra["sweeper"]
    if sweeper.get("jobs"):  # a sweep of listed cases
        return list(map(tuple, sweeper["jobs"]))
    if not str(sweeper.get("_target_")).endswith((".BasicSweeper", ".GridSweeper")):
        return []
    overrides = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    overrides += hydra.get("overrides", {}).get("task", [])
    try:
        (batch,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(overrides), None)
    except HydraException:  # such as a glob over a config group's choices
        return []
    return [tuple(job) for job in batch]


def planned_labels(sweeps: Sequence[Sweep]) -> list[str | None]:
    """Return the distinct labels of the planned jobs, in order; None stands for jobs without a label."""
    jobs = [job for sweep in sweeps for job in planned(sweep)]
    overrides = [next((override for override in job if override.startswith("label=")), None) for job in jobs]
    return list(dict.fromkeys(None if override is None else label_of_override(override) for override in overrides))


def label_of_override(override: str) -> str | None:
    """Return the label that the override ``label=...`` gives to a run; None if it is null or blank."""
    text = override.removeprefix("label=")
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return label_of(text)
    return label_of(text if parsed.is_sweep_override() else parsed.value())
