"""Variants: groups of runs that differ only in their seed, named by the config values that differ between them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from adamct.errors import require
from adamct.evaluation.names import Metric
from adamct.identity import EXECUTION, SEEDS, SOURCE, named
from adamct.report.inputs.names import as_text, numbered, printable, shortened
from adamct.report.inputs.paper import position
from adamct.report.inputs.runs import Run
from adamct.report.inputs.titles import model_title

WITHOUT_EFFECT = (*EXECUTION, *SOURCE, *SEEDS, "ckpt", "predict", "stages")
"""Keys that do not define an experiment."""
NULL = as_text(None)
"""The value of a key that a run lacks: it was made before the key existed."""
UNNAMED_GROUPS = frozenset(("dataset", "model", "trainer", "logger", "search", "sweep"))
"""Config groups that do not appear in a variant's name."""


@dataclass(frozen=True, eq=False)
class Variant:
    """One experiment, repeated with several seeds.

    Attributes:
        name: the model's published name, its label, and ``key=value`` for each difference from the model's other
            variants. The model is left out if all variants are of one, or have distinct labels. The name is unique on
            the dataset.
        runs: the finished runs, sorted by seed.
        matches_paper: whether the paper's figures may be of it: it is the only one of its model or of its label.
    """

    name: str
    runs: tuple[Run, ...]
    matches_paper: bool

    @property
    def model(self) -> str:
        """The model's name."""
        return self.runs[0].model

    @property
    def label(self) -> str | None:
        """The label of its runs; None if they have none."""
        return self.runs[0].label

    def values(self, metric: Metric) -> list[float]:
        """Return a metric's value in each run that has it."""
        key = str(metric)
        return [float(run.metrics[key]) for run in self.runs if key in run.metrics]

    def mean(self, metric: Metric) -> float | None:
        """Return a metric's mean over the seeds; None if no run has it."""
        values = self.values(metric)
        return mean(values) if values else None


def defining(run: Run) -> dict[str, str]:
    """Return the keys that define a run's experiment, with their values as text without the run's own folder."""
    folder = run.config.get("output_dir") or run.folder
    return {
        key: as_text(value).replace(str(folder), "${output_dir}")
        for key, value in run.config.items()
        if not named(key, WITHOUT_EFFECT)
    }


def experiment(run: Run) -> tuple[str, frozenset[tuple[str, str]]]:
    """Return what runs of one experiment share: the model, and the defining keys. A key that a run lacks is null."""
    return run.model, frozenset((key, value) for key, value in defining(run).items() if value != NULL)


def apart(runs: Sequence[Run], folders: Sequence[Path]) -> list[Run]:
    """Label a run that is itself among some folders, if another run is the same experiment with the same seed.

    A rerun can then be compared with the original.
    """
    own = {folder.resolve() for folder in folders}
    experiments = [(run.dataset, run.seed, experiment(run)) for run in runs]
    return [
        replace(run, config=run.config | {"label": " ".join(filter(None, (run.label, f"in {run.folder.name}")))})
        if run.folder.resolve() in own and experiments.count(repeated) > 1
        else run
        for run, repeated in zip(runs, experiments, strict=True)
    ]


def group(runs: Sequence[Run], labels: Sequence[str | None] = ()) -> list[Variant]:
    """Group one dataset's finished runs into variants, in the order of the paper's models, then labels, then names.

    Raises:
        InputError: two runs of a variant have the same seed.
    """
    experiments: dict[tuple[str, frozenset[tuple[str, str]]], list[Run]] = {}
    for run in runs:
        experiments.setdefault(experiment(run), []).append(run)
    groups = [tuple(sorted(repeats, key=lambda run: run.seed or 0)) for repeats in experiments.values()]
    for repeats in groups:
        for one, other in pairwise(repeats):
            require(
                one.seed != other.seed,
                f"{one.folder} and {other.folder} are the same experiment with the same seed={one.seed}: leave out "
                "one, or give one another label",
            )
    differences: dict[tuple[Run, ...], str] = {}
    for kind in dict.fromkeys((repeats[0].model, repeats[0].label) for repeats in groups):
        peers = [repeats for repeats in groups if (repeats[0].model, repeats[0].label) == kind]
        differences |= zip(peers, difference_texts(peers), strict=True)
    names = name_variants(differences)
    positions = {label: index for index, label in enumerate(labels)}

    def key(variant: Variant) -> tuple[Any, ...]:
        label_position = positions.get(variant.label, len(positions))
        return position(variant.model), variant.model, label_position, natural(variant.name)

    variants = [
        Variant(name, repeats, not difference)
        for name, (repeats, difference) in zip(names, differences.items(), strict=True)
    ]
    ordered = sorted(variants, key=key)
    distinct = numbered(shortened(variant.name) for variant in ordered)
    return [
        replace(variant, name=name, matches_paper=variant.matches_paper and name == variant.name)
        for variant, name in zip(ordered, distinct, strict=True)
    ]


def name_variants(differences: Mapping[tuple[Run, ...], str]) -> list[str]:
    """Name variants by model, label and difference; by label and difference if these suffice."""
    models = {repeats[0].model for repeats in differences}
    labels = [repeats[0].label for repeats in differences]
    suffice = len(models) == 1 or (all(labels) and len(set(labels)) == len(labels))
    texts = [
        printable(" ".join(filter(None, (repeats[0].label, difference)))) for repeats, difference in differences.items()
    ]
    titles = [model_title(repeats[0].model) for repeats in differences]
    return [
        (text if suffice else f"{title} {text}".strip()) or title for title, text in zip(titles, texts, strict=True)
    ]


def difference_texts(peers: Sequence[tuple[Run, ...]]) -> list[str]:
    """Return each variant's differences from the others, as ``key=value``.

    Choices of config groups come first, then overrides of the command line. Other keys mostly follow from those. They
    are added only if they distinguish variants that would otherwise have the same text.
    """
    traits = [traits_of(variant[0]) for variant in peers]
    overridden = {override.partition("=")[0].lstrip("+") for variant in peers for override in variant[0].overrides}
    differ = varied(traits)
    chosen = [key for key in differ if key in peers[0][0].choices or key in overridden]
    for key in sorted(differ, key=lambda key: not key.endswith("_target_")):
        if key not in chosen and len(classes(traits, [*chosen, key])) > len(classes(traits, chosen)):
            chosen.append(key)
    short = [last_part(key) for key in chosen]
    shown = [name if short.count(name) == 1 else key for name, key in zip(short, chosen, strict=True)]
    return [
        " ".join(f"{name}={values[key]}" for name, key in zip(shown, chosen, strict=True) if key in values)
        for values in traits
    ]


def traits_of(run: Run) -> dict[str, str]:
    """Return a run's choices of config groups and its defining keys. Classes are named without their modules."""
    choices = {
        key: as_text(value)
        for key, value in run.choices.items()
        if key not in UNNAMED_GROUPS and not key.startswith(("hydra/", "tuned/", "model@references."))
    }
    return choices | {
        key: value.rpartition(".")[2] if key.endswith("_target_") else value for key, value in defining(run).items()
    }


def varied(traits: Sequence[dict[str, str]]) -> list[str]:
    """Return the keys whose values differ between runs. A key that a run lacks is null."""
    keys = dict.fromkeys(key for values in traits for key in values)
    return [key for key in keys if len({values.get(key, NULL) for values in traits}) > 1]


def classes(traits: Sequence[dict[str, str]], keys: Iterable[str]) -> set[tuple[str, ...]]:
    """Return the distinct combinations of some keys' values."""
    return {tuple(values.get(key, NULL) for key in keys) for values in traits}


def last_part(key: str) -> str:
    """Return the last part of a key or of a config group's name, without ``_target_``."""
    return key.removesuffix("._target_").rpartition("@")[2].rpartition("/")[2].rpartition(".")[2]


def natural(name: str) -> list[tuple[bool, float, str]]:
    """Return a sort key that orders the numbers within names by size."""
    words = name.replace("=", " ").split()
    return [(number(word) is None, number(word) or 0.0, word) for word in words]


def number(word: str) -> float | None:
    """Return a word as a number; None if it is not a finite number."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
