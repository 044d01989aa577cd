"""The study of a search: the course of its trials, the best of them, and the importance of the keys."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from adamct.errors import InputError, on_one_line
from adamct.report.inputs.names import printable, shortened
from adamct.report.inputs.record import damage
from adamct.report.inputs.runs import Run, Sweep
from adamct.report.inputs.titles import block_title, model_title
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.page import Section
from adamct.report.outputs.style import COLOURS, INK, WIDTH, styled
from adamct.report.outputs.table import NONE, Table, plain
from adamct.report.sections.provenance import machine, source
from adamct.report.sections.sensitivity import place
from adamct.search.storage import open_storage

SHOWN = 10
"""The number of best trials in the table."""
ENOUGH = 30
"""The least number of complete trials for a figure of importances, so that their best tenth has several."""


def study_section(sweep: Sweep, name: str, runs: Sequence[Run]) -> Section | None:
    """Make a search's table and figures.

    Args:
        sweep: the search.
        name: the search's name in titles and file names.
        runs: the runs of its ended trials.

    Returns:
        The section; None if no trial has a score yet, or the study does not exist any more.

    Raises:
        InputError: the study cannot be read.
    """
    config = OmegaConf.create(dict(sweep.config))
    keys = ("hydra.sweeper.storage", "hydra.sweeper.study_name", "monitor", "hydra.sweeper.sampler._target_")
    try:
        storage, study_name, monitor, sampler = (printable(str(OmegaConf.select(config, key))) for key in keys)
        study = find_study(sweep.folder, storage, study_name)
        trials = [] if study is None else study.get_trials(deepcopy=False)
    except Exception as error:  # Optuna and its databases raise many types for a foreign file
        why = on_one_line(error) or type(error).__name__
        raise InputError(damage(sweep.folder / "multirun.yaml", f"the study cannot be read: {why}")) from error
    if study is None or not complete(trials):
        return None
    models = dict.fromkeys(model_title(run.model) for run in runs)
    title = f"Search of {', '.join(models)} on {block_title(runs[0].dataset, None)}"
    with styled():
        figures = [progress(trials, name, monitor), *courses(trials, name, monitor), *slices(trials, name, monitor)]
        if len(complete(trials)) >= ENOUGH:
            figures += importances(study, name)
    parts = [replace(part, title=f"{title}: {part.title}") for part in (best_table(trials, name, monitor), *figures)]
    facts = [*source(runs[0]), ("Sampler", sampler), *machine(runs)]
    return Section(title, f"{len(trials)} trial{'s' * (len(trials) > 1)}", parts, facts)


def find_study(sweep: Path, storage: str, name: str) -> optuna.Study | None:
    """Open the study in the search's folder, or else at its recorded address; None if there is no file."""
    scheme = "sqlite:///" if storage.startswith("sqlite:///") else ""
    if scheme or "://" not in storage:
        recorded = Path(storage.removeprefix(scheme))
        file = next((path for path in (sweep / recorded.name, recorded) if path.exists()), None)
        if file is None:
            return None
        storage = f"{scheme}{file}"
    return optuna.load_study(study_name=name, storage=open_storage(storage))


def counts(trials: Sequence[FrozenTrial]) -> str:
    """Return the number of trials in each state."""
    states = Counter(trial.state.name.lower() for trial in trials)
    return f"{len(trials)} trials: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def sampled_values(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's values by config key."""
    return {name.partition(" of ")[0]: value for name, value in trial.params.items()}


def complete(trials: Sequence[FrozenTrial]) -> list[tuple[FrozenTrial, float]]:
    """Return the complete trials with their scores."""
    return [(trial, trial.value) for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]


def searched_keys(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the searched keys."""
    return list(dict.fromkeys(key for trial in trials for key in sampled_values(trial)))


def best_table(trials: Sequence[FrozenTrial], name: str, monitor: str) -> Table:
    """Make a table of the best trials, with their scores and values."""
    ranked = sorted(complete(trials), key=lambda pair: pair[1], reverse=True)[:SHOWN]
    keys = searched_keys(trials)
    rows = [
        (str(trial.number), plain([f"{score:.4f}", *(written(sampled_values(trial).get(key, NONE)) for key in keys)]))
        for trial, score in ranked
    ]
    columns = ("score", *(key.rpartition(".")[2] for key in keys))
    notes = (f"{counts(trials)}.", f"The score is the best epoch's {monitor}.")
    return Table(
        name=f"{name}_trials",
        title="best trials",
        corner="trial",
        columns=columns,
        rows=tuple(rows),
        notes=notes,
    )


def written(value: Any) -> str:
    """Write a trial's value, floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def progress(trials: Sequence[FrozenTrial], name: str, monitor: str) -> Drawing:
    """Draw the score of every trial, and the best score so far."""
    figure = Figure(figsize=(WIDTH, 3.2))
    axes = figure.add_subplot()
    done = complete(trials)
    numbers, scores = [trial.number for trial, _ in done], [score for _, score in done]
    pruned_trials = [(trial.number, max(trial.intermediate_values.values())) for trial in trials if pruned(trial)]
    axes.plot(numbers, scores, "o", color=COLOURS[0], markersize=4, label="complete")
    if pruned_trials:
        axes.plot(*zip(*pruned_trials, strict=True), "x", color=COLOURS[1], markersize=5, label="pruned (best epoch)")
    axes.step(numbers, np.maximum.accumulate(scores), where="post", color=INK, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(monitor)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return Drawing(f"{name}_progress", "progress of the search", f"{counts(trials)}.", figure)


def pruned(trial: FrozenTrial) -> bool:
    """Return whether a trial was pruned after it had reported a score."""
    return trial.state == TrialState.PRUNED and bool(trial.intermediate_values)


def courses(trials: Sequence[FrozenTrial], name: str, monitor: str) -> list[Drawing]:
    """Draw the score of every trial over its epochs; empty if no trial has two."""
    if all(len(trial.intermediate_values) < 2 for trial in trials):
        return []
    figure = Figure(figsize=(WIDTH, 3.2))
    axes = figure.add_subplot()
    best = max(complete(trials), key=lambda pair: pair[1])[0].number
    for trial in trials:
        epochs = sorted(trial.intermediate_values)
        look: dict[str, Any] = (
            {"color": COLOURS[1], "linestyle": ":"} if pruned(trial) else {"color": COLOURS[0], "alpha": 0.5}
        )
        if trial.number == best:
            look = {"color": INK, "linewidth": 2.0}
        axes.plot([epoch + 1 for epoch in epochs], [trial.intermediate_values[epoch] for epoch in epochs], **look)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(monitor)
    caption = f"One line per trial; thick: the best ({best}); dotted: pruned."
    return [Drawing(f"{name}_courses", "trials over their epochs", caption, figure)]


def slices(trials: Sequence[FrozenTrial], name: str, monitor: str) -> list[Drawing]:
    """Draw the complete trials' scores against each searched key; empty if there are no keys."""
    keys, across = searched_keys(trials), 4
    if not keys:
        return []
    figure = Figure(figsize=(WIDTH, 1.9 * ceil(len(keys) / across)), layout="constrained")
    panels = figure.subplots(ceil(len(keys) / across), across, sharey=True, squeeze=False).flatten()
    for axes, key in zip(panels, keys, strict=False):
        draw_slice(axes, key, complete(trials))
    for axes in panels[len(keys) :]:
        axes.set_visible(False)
    figure.supylabel(monitor, fontsize=9)
    return [Drawing(f"{name}_slices", "score by key", "One point per complete trial.", figure)]


def draw_slice(axes: Axes, key: str, done: Sequence[tuple[FrozenTrial, float]]) -> None:
    """Draw the panel of one key: an axis for a range, places for choices."""
    trials = [trial for trial, _ in done if key in sampled_values(trial)]
    values = [sampled_values(trial)[key] for trial in trials]
    scores = [score for trial, score in done if trial in trials]
    spaces = [
        space for trial in trials for name, space in trial.distributions.items() if name.partition(" of ")[0] == key
    ]
    if any(isinstance(space, CategoricalDistribution) for space in spaces):
        choices = sorted(set(values), key=lambda choice: place(written(choice)))
        axes.plot([choices.index(value) for value in values], scores, "o", color=COLOURS[0], markersize=3)
        axes.set_xticks(range(len(choices)), [shortened(printable(written(choice))) for choice in choices])
        axes.tick_params(axis="x", rotation=0 if all(isinstance(choice, int) for choice in choices) else 30)
    else:
        axes.plot(values, scores, "o", color=COLOURS[0], markersize=3)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        if any(getattr(space, "log", False) for space in spaces):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(
                LogLocator(subs=(1.0,) if max(values) > 30 * min(values) else (1.0, 2.0, 5.0), numticks=4)
            )
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel(key.rpartition(".")[2])


def importances(study: optuna.Study, name: str) -> list[Drawing]:
    """Draw the importance of each key; empty if the scores or values do not vary."""
    shares: dict[str, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns about keys that few trials have
        try:
            for parameter, share in get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()).items():
                key = parameter.partition(" of ")[0]
                shares[key] = shares.get(key, 0.0) + share
        except (RuntimeError, ValueError):  # scores or values that do not vary
            return []
    figure = Figure(figsize=(WIDTH, 0.8 + 0.3 * len(shares)))
    axes = figure.add_subplot()
    axes.barh(range(len(shares)), list(shares.values()), height=0.66, color=COLOURS[0], alpha=0.45, hatch="///")
    axes.set_yticks(range(len(shares)), list(shares))
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("importance (share)")
    caption = "PED-ANOVA: how much the values of the best tenth of the trials differ from those of all trials."
    return [Drawing(f"{name}_importances", "importance of the keys", caption, figure)]
