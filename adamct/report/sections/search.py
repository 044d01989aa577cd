"""The study behind a search: how its trials went, which of them were best, and which keys mattered."""

import warnings
from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from omegaconf import OmegaConf
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from adamct.errors import InputError, on_one_line
from adamct.report.inputs.names import printable, shortened
from adamct.report.inputs.record import damage
from adamct.report.inputs.runs import Run, Sweep
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.page import Section
from adamct.report.outputs.style import COLOURS, INK, WIDTH, styled
from adamct.report.outputs.table import NONE, Table, plain
from adamct.report.sections.provenance import machine, source
from adamct.search.storage import open_storage

SHOWN = 10
"""Best trials in the table."""
ENOUGH = 10
"""Complete trials from which on the report shows which keys mattered."""


def study_section(sweep: Sweep, name: str, runs: Sequence[Run]) -> Section | None:
    """Make a search's table and figures.

    Args:
        sweep: the search.
        name: its name in titles and files.
        runs: those of its trials that have ended.

    Returns:
        None where no trial has a score yet, or its study is not there any more.

    Raises:
        InputError: its study cannot be read.
    """
    config = OmegaConf.create(dict(sweep.config))
    keys = ("hydra.sweeper.storage", "hydra.sweeper.study_name", "monitor", "hydra.sweeper.sampler._target_")
    try:
        storage, study_name, monitor, sampler = (printable(str(OmegaConf.select(config, key))) for key in keys)
        study = find_study(sweep.folder, storage, study_name)
        trials = [] if study is None else study.get_trials(deepcopy=False)
    except Exception as error:  # Optuna and its databases raise all kinds where they read what they did not write
        why = on_one_line(error) or type(error).__name__
        raise InputError(damage(sweep.folder / "multirun.yaml", f"its study cannot be read: {why}")) from error
    if study is None or not complete(trials):
        return None
    with styled():
        figures = [progress(trials, name, monitor), courses(trials, name, monitor), *slices(trials, name, monitor)]
        if len(complete(trials)) >= ENOUGH:
            figures += importances(study, name)
    facts = [*source(runs[0]), ("Sampler", sampler), *machine(runs)]
    return Section(f"Search: {name}", [best_table(trials, name, monitor), *figures], facts)


def find_study(sweep: Path, storage: str, name: str) -> optuna.Study | None:
    """Open the study of a search: in its folder, or else at its recorded address."""
    scheme = "sqlite:///" if storage.startswith("sqlite:///") else ""
    if scheme or "://" not in storage:
        kept = Path(storage.removeprefix(scheme))
        file = next((path for path in (sweep / kept.name, kept) if path.exists()), None)
        if file is None:
            return None
        storage = f"{scheme}{file}"
    return optuna.load_study(study_name=name, storage=open_storage(storage))


def counts(trials: Sequence[FrozenTrial]) -> str:
    """How many trials ended how."""
    states = Counter(trial.state.name.lower() for trial in trials)
    return f"{len(trials)} trials: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def drawn(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's values by the config's keys."""
    return {name.partition(" of ")[0]: value for name, value in trial.params.items()}


def complete(trials: Sequence[FrozenTrial]) -> list[tuple[FrozenTrial, float]]:
    """Return the complete trials, with their scores."""
    return [(trial, trial.value) for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]


def keys_of(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the searched keys."""
    return list(dict.fromkeys(key for trial in trials for key in drawn(trial)))


def best_table(trials: Sequence[FrozenTrial], name: str, monitor: str) -> Table:
    """Make a table of the best trials and their values."""
    ranked = sorted(complete(trials), key=lambda pair: pair[1], reverse=True)[:SHOWN]
    keys = keys_of(trials)
    rows = [
        (str(trial.number), plain([f"{score:.4f}", *(written(drawn(trial).get(key, NONE)) for key in keys)]))
        for trial, score in ranked
    ]
    columns = ("score", *(key.rpartition(".")[2] for key in keys))
    notes = (f"{counts(trials)}.", f"The score is the best epoch's {monitor}.")
    return Table(
        name=f"{name}_trials",
        title=f"{name}: best trials",
        corner="trial",
        columns=columns,
        rows=tuple(rows),
        notes=notes,
    )


def written(value: Any) -> str:
    """Write a drawn value, numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def progress(trials: Sequence[FrozenTrial], name: str, monitor: str) -> Drawing:
    """Every trial's score, and the best so far."""
    figure = Figure(figsize=(WIDTH, 3.2))
    axes = figure.add_subplot()
    done = complete(trials)
    numbers, scores = [trial.number for trial, _ in done], [score for _, score in done]
    given_up = [(trial.number, max(trial.intermediate_values.values())) for trial in trials if pruned(trial)]
    axes.plot(numbers, scores, "o", color=COLOURS[0], markersize=4, label="complete")
    if given_up:
        axes.plot(*zip(*given_up, strict=True), "x", color=COLOURS[1], markersize=5, label="pruned (best epoch)")
    axes.step(numbers, np.maximum.accumulate(scores), where="post", color=INK, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(monitor)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return Drawing(f"{name}_progress", f"{name}: progress of the search", f"{counts(trials)}.", figure)


def pruned(trial: FrozenTrial) -> bool:
    """Whether a trial was given up after it had reported."""
    return trial.state == TrialState.PRUNED and bool(trial.intermediate_values)


def courses(trials: Sequence[FrozenTrial], name: str, monitor: str) -> Drawing:
    """Draw every trial's score over its epochs."""
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
    caption = f"One line a trial; thick: the best ({best}); dotted: pruned."
    return Drawing(f"{name}_courses", f"{name}: trials over their epochs", caption, figure)


def slices(trials: Sequence[FrozenTrial], name: str, monitor: str) -> list[Drawing]:
    """Draw the score of the complete trials against each searched key; nothing where no key was searched."""
    keys, across = keys_of(trials), 4
    if not keys:
        return []
    figure = Figure(figsize=(WIDTH, 1.9 * ceil(len(keys) / across)), layout="constrained")
    panels = figure.subplots(ceil(len(keys) / across), across, sharey=True, squeeze=False).flatten()
    for axes, key in zip(panels, keys, strict=False):
        slice_of(axes, key, complete(trials))
    for axes in panels[len(keys) :]:
        axes.set_visible(False)
    figure.supylabel(monitor, fontsize=9)
    return [Drawing(f"{name}_slices", f"{name}: score by key", "One point a complete trial.", figure)]


def slice_of(axes: Axes, key: str, done: Sequence[tuple[FrozenTrial, float]]) -> None:
    """Draw one key's panel."""
    having = [(drawn(trial)[key], score) for trial, score in done if key in drawn(trial)]
    values, scores = [value for value, _ in having], [score for _, score in having]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    choices = sorted({str(value) for value in values}) if not numeric else sorted(set(values))
    if numeric and len(choices) > 6:
        axes.plot(values, scores, "o", color=COLOURS[0], markersize=3)
        if min(values) > 0 and max(values) / min(values) > 50:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        places = [choices.index(value if numeric else str(value)) for value in values]
        axes.plot(places, scores, "o", color=COLOURS[0], markersize=3)
        axes.set_xticks(
            range(len(choices)),
            [shortened(printable(str(choice))) for choice in choices],
            rotation=30 if not numeric else 0,
        )
    axes.set_xlabel(key.rpartition(".")[2])


def importances(study: optuna.Study, name: str) -> list[Drawing]:
    """Draw the importance of each key for the best trials."""
    shares: dict[str, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about keys that few trials have
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
    caption = "PED-ANOVA: by how much the values of the best tenth of the trials differ from those of all."
    return [Drawing(f"{name}_importances", f"{name}: what mattered", caption, figure)]
