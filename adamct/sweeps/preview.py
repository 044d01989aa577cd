"""A look at a sweep before it runs: its jobs, how many have finished, and the time that the others take.

It writes nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple, cast

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from adamct.errors import require
from adamct.runs.config import resolved
from adamct.runs.console import duration
from adamct.runs.folder import CHECKPOINTS, ERROR, RESULTS, finished_before, read_json
from adamct.runs.threads import usable_cores
from adamct.sweeps.folders import name_sweep

STATUSES = FINISHED, FAILED, BEGUN, TO_DO = "finished", "failed", "begun", "to do"


class Job(NamedTuple):
    """A job of a sweep."""

    name: str
    """The name of its folder."""
    status: str
    kind: tuple[Any, ...]
    """The dataset and the model. Jobs of one kind take about the same time."""
    results: Mapping[str, Any]
    """Its ``results.json`` if it has finished, else empty."""


def show_preview(config: DictConfig) -> None:
    """Print the jobs of a sweep, or the trials of a search so far, and how many have finished.

    Args:
        config: the sweep's config, which is changed as for a sweep that begins.
    """
    folder = name_sweep(config.hydra)
    if n_trials := config.hydra.sweeper.get("n_trials"):
        jobs = [trial_in(path) for path in sorted(folder.glob(f"{'[0-9]' * 4}*/"))]
        total = max(n_trials, len(jobs))
    else:
        jobs = [job_of(config, number, overrides) for number, overrides in enumerate(overrides_of_jobs(config))]
        total = len(jobs)
    print(folder)
    for number, job in enumerate(jobs):
        print(f"#{number:<4} {job.status:8}  {job.name}")
    print(summary(jobs, total, at_once(config.hydra)))


def number_of_jobs(config: DictConfig) -> int | None:
    """Return the number of jobs of a sweep; None if only its sweeper knows it."""
    sweeper = config.hydra.sweeper
    if "n_trials" in sweeper:
        return sweeper.n_trials
    is_grid = hasattr(get_class(sweeper._target_), "split_arguments") and "cases" not in sweeper
    return len(BasicSweeper.split_arguments(parsed_overrides(config), None)[0]) if is_grid else None


def overrides_of_jobs(config: DictConfig) -> list[list[str]]:
    """Return the overrides of a sweep's jobs, in the order of their numbers."""
    context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks())
    sweeper = Plugins.instance().instantiate_sweeper(
        config=config, hydra_context=context, task_function=lambda config: None
    )
    choice = config.hydra.runtime.choices["hydra/sweeper"]
    # Hydra may import its own plugins twice, so that a sweeper's class is not the one that is imported here.
    require(hasattr(sweeper, "split_arguments"), f"preview=true: hydra/sweeper={choice} does not list its jobs")
    (jobs,) = cast(BasicSweeper, sweeper).split_arguments(parsed_overrides(config), None)
    return jobs


def parsed_overrides(config: DictConfig) -> list[Override]:
    """Return the values of a sweep's config and command, parsed."""
    texts = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    texts += cast(list[str], OmegaConf.to_container(config.hydra.overrides.task, resolve=False))
    return OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(texts)


def job_of(config: DictConfig, number: int, overrides: list[str]) -> Job:
    """Return a job of a sweep, composed and named as its launcher does."""
    job = GlobalHydra.instance().config_loader().load_sweep_config(config, overrides)
    with open_dict(job):
        job.hydra.job.num = number
    HydraConfig.instance().set_config(job)  # which the interpolations of names read
    folder = Path(job.hydra.sweep.dir, job.hydra.sweep.subdir)
    with read_write(job.hydra), open_dict(job):
        job.hydra.runtime.output_dir = str(folder.absolute())
        HydraConfig.instance().set_config(job)
        choices = job.pop("hydra").runtime.choices
    results = finished_before(folder, resolved(job)) if job.resume == "auto" else None
    return Job(folder.name, status_of(folder, results), (choices["dataset"], choices["model"]), results or {})


def trial_in(folder: Path) -> Job:
    """Return the trial of a search that has a folder."""
    results = read_json(folder / RESULTS)
    return Job(folder.name, status_of(folder, results), (), results or {})


def status_of(folder: Path, results: Any) -> str:
    """Return the status of the job in a folder, whose results are None if it has not finished."""
    if results is not None:
        return FINISHED
    if (folder / ERROR).exists():
        return FAILED
    return BEGUN if any((folder / CHECKPOINTS).glob("*.ckpt")) else TO_DO


def summary(jobs: Sequence[Job], total: int, at_once: int) -> str:
    """Return how many jobs have which status, and how long the others take.

    Args:
        jobs: the known jobs.
        total: the number of all jobs.
        at_once: how many run at once.
    """
    counts = Counter(job.status for job in jobs)
    counts[TO_DO] += total - len(jobs)
    text = f"{total} jobs: {', '.join(f'{counts[status]} {status}' for status in STATUSES if counts[status])}"
    others = total - counts[FINISHED]
    if others == 0:
        return text
    seconds = seconds_left(jobs, total)
    if seconds is None:
        return f"{text}. Time left: unknown, as none has finished"
    at_once = min(at_once, others)
    return f"{text}. Time left: about {duration(seconds / at_once)}, {at_once} at a time"


def seconds_left(jobs: Sequence[Job], total: int) -> float | None:
    """Estimate the seconds of training of the jobs that have not finished, one after another.

    A job is assumed to take as long as the finished ones of its kind do on average, or else as all finished ones do.
    None if none has finished.
    """
    seconds: dict[tuple[Any, ...] | None, list[float]] = {}
    for job in jobs:
        if job.status == FINISHED:
            for kind in (job.kind, None):
                seconds.setdefault(kind, []).append(seconds_of(job.results))
    if not seconds:
        return None
    means = {kind: mean(values) for kind, values in seconds.items()}
    known = sum(means.get(job.kind, means[None]) for job in jobs if job.status != FINISHED)
    return known + (total - len(jobs)) * means[None]


def seconds_of(results: Mapping[str, Any]) -> float:
    """Return about how many seconds a finished run trained and validated."""
    cost = results.get("cost", {})
    epoch = (cost.get("train_seconds_per_epoch") or 0.0) + (cost.get("validation_seconds") or 0.0)
    return cost.get("epochs", 0) * epoch


def at_once(hydra: DictConfig) -> int:
    """Return how many jobs run at once."""
    parallel = hydra.sweeper.get("n_jobs") or hydra.launcher.get("n_jobs") or hydra.launcher.get("array_parallelism")
    return usable_cores() if parallel == -1 else parallel or 1
