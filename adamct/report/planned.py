"""The jobs a sweep planned, to find those that have not started."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from adamct.report.runs import Run, read_yaml


def not_started(sweeps: Sequence[Path], runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """The overrides of each planned job that has no folder, of sweeps that are products of their values."""
    started = {frozenset(run.overrides) for run in runs}
    jobs = {frozenset(job): job for sweep in sweeps for job in planned(read_yaml(sweep / "multirun.yaml") or {})}
    return [job for overrides, job in jobs.items() if overrides not in started]


def planned(multirun: dict[str, Any]) -> list[tuple[str, ...]]:
    """The jobs of a ``multirun.yaml``; none where a search draws them, or they cannot be told without the configs."""
    hydra = multirun.get("hydra", {})
    sweeper = hydra.get("sweeper") or {}
    if sweeper.get("jobs"):  # of listed cases
        return list(map(tuple, sweeper["jobs"]))
    if not str(sweeper.get("_target_")).endswith(".BasicSweeper"):
        return []
    given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    given += hydra.get("overrides", {}).get("task") or []
    try:
        (batch,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(given), None)
    except HydraException:  # a glob over a config group's choices
        return []
    return [tuple(job) for job in batch]


def planned_labels(sweeps: Sequence[Path]) -> list[str]:
    """The labels that planned jobs are given, in their order; of a job without one it is empty."""
    jobs = [job for sweep in sweeps for job in planned(read_yaml(sweep / "multirun.yaml") or {})]
    given = [next((override for override in job if override.startswith("label=")), "label=''") for job in jobs]
    parsed = OverridesParser.create().parse_overrides(given)
    return list(dict.fromkeys(str(override.value()) for override in parsed))
