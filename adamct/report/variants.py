"""Runs that are equal in everything but the seed are one variant, named by what sets it apart."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import mean
from typing import Any

from adamct.errors import require
from adamct.identity import EXECUTION, SEEDS, SOURCE, named
from adamct.report.names import as_text, numbered, printable, shortened
from adamct.report.paper import position
from adamct.report.runs import Run

WITHOUT_EFFECT = (*EXECUTION, *SOURCE, *SEEDS, "ckpt", "predict", "stages")
"""Keys that make no other experiment."""
UNNAMED_GROUPS = frozenset(("dataset", "model", "trainer", "logger", "sweep"))
"""Config groups that do not tell the variants of a model apart."""


@dataclass(frozen=True, eq=False)
class Variant:
    """One experiment, repeated with several seeds.

    Attributes:
        name: the model's, and ``key=value`` of what differs among the model's variants on the dataset. No other variant
            of the dataset has the same.
        runs: the finished ones, by seed.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def model(self) -> str:
        """The model's name."""
        return self.runs[0].model

    @property
    def label(self) -> str | None:
        """What its runs were labelled as."""
        return self.runs[0].label

    @property
    def known(self) -> bool:
        """Whether it may be what the paper reports of: its model's only variant, or the only one of its label."""
        return self.name == " ".join(filter(None, (self.model, self.label)))

    def values(self, key: str) -> list[float]:
        """A metric, such as ``test/uni100/ndcg@10``, of each run that has it."""
        return [float(run.metrics[key]) for run in self.runs if key in run.metrics]

    def mean(self, key: str) -> float | None:
        """A metric's mean over the seeds, None where no run has it."""
        values = self.values(key)
        return mean(values) if values else None


def defining(run: Run) -> dict[str, str]:
    """The keys that make a run the experiment it is, and their values as text, whatever folder they name as its own."""
    folder = run.config.get("output_dir") or run.folder
    return {
        key: as_text(value).replace(str(folder), "${output_dir}")
        for key, value in run.config.items()
        if not named(key, WITHOUT_EFFECT)
    }


def group(runs: Sequence[Run], labels: Sequence[str | None] = ()) -> list[Variant]:
    """Make variants of one dataset's finished runs, in the order of the paper's models, then of labels, then of names.

    Raises:
        InputError: a variant has two runs of one seed.
    """
    experiments: dict[tuple[str, frozenset[tuple[str, str]]], list[Run]] = {}
    for run in runs:
        experiments.setdefault((run.model, frozenset(defining(run).items())), []).append(run)
    groups = [tuple(sorted(found, key=lambda run: run.seed or 0)) for found in experiments.values()]
    for found in groups:
        for one, other in pairwise(found):
            require(
                one.seed != other.seed,
                f"{one.folder} and {other.folder} are the same experiment with the same seed={one.seed}: leave out one",
            )
    variants = []
    for model in dict.fromkeys(found[0].model for found in groups):
        peers = [found for found in groups if found[0].model == model]
        variants += [Variant(name, found) for name, found in zip(names(peers), peers, strict=True)]
    places = {label: place for place, label in enumerate(labels)}

    def key(variant: Variant) -> tuple[Any, ...]:
        place = places.get(variant.label, len(places))
        return position(variant.model), variant.model, place, natural(variant.name)

    ordered = sorted(variants, key=key)
    different = numbered(shortened(variant.name) for variant in ordered)
    return [replace(variant, name=name) for variant, name in zip(ordered, different, strict=True)]


def names(peers: Sequence[tuple[Run, ...]]) -> list[str]:
    """Name the variants of one model by their labels, and those of one label by what tells them apart."""
    found = dict.fromkeys(range(len(peers)), "")
    for label in dict.fromkeys(variant[0].label for variant in peers):
        places = [place for place, variant in enumerate(peers) if variant[0].label == label]
        for place, apart in zip(places, told_apart([peers[place] for place in places]), strict=True):
            found[place] = printable(" ".join(filter(None, (peers[place][0].model, label, apart))))
    return list(found.values())


def told_apart(peers: Sequence[tuple[Run, ...]]) -> list[str]:
    """What sets each of some variants apart, as ``key=value``.

    Choices of config groups come first, then what was given on the command line, each wherever it differs; other
    keys, which mostly follow from those, only where variants are still not told apart.
    """
    traits = [traits_of(found[0]) for found in peers]
    given = {override.partition("=")[0].lstrip("+") for found in peers for override in found[0].overrides}
    differ = varied(traits)
    chosen = [key for key in differ if key in peers[0][0].choices or key in given]
    for key in sorted(differ, key=lambda key: not key.endswith("_target_")):
        if key not in chosen and len(classes(traits, [*chosen, key])) > len(classes(traits, chosen)):
            chosen.append(key)
    short = [last_part(key) for key in chosen]
    shown = [name if short.count(name) == 1 else key for name, key in zip(short, chosen, strict=True)]
    return [
        " ".join(f"{name}={of[key]}" for name, key in zip(shown, chosen, strict=True) if key in of) for of in traits
    ]


def traits_of(run: Run) -> dict[str, str]:
    """A run's choices of config groups and its defining keys, classes by their own names."""
    named = {
        key: as_text(value)
        for key, value in run.choices.items()
        if key not in UNNAMED_GROUPS and not key.startswith(("hydra/", "tuned/"))
    }
    return named | {
        key: value.rpartition(".")[2] if key.endswith("_target_") else value for key, value in defining(run).items()
    }


def varied(traits: Sequence[dict[str, str]]) -> list[str]:
    """The keys that not all of some runs have, or have with the same value."""
    keys = dict.fromkeys(key for of in traits for key in of)
    return [key for key in keys if len({of.get(key) for of in traits}) > 1]


def classes(traits: Sequence[dict[str, str]], keys: Iterable[str]) -> set[tuple[str | None, ...]]:
    """The distinct combinations of some keys' values."""
    return {tuple(of.get(key) for key in keys) for of in traits}


def last_part(key: str) -> str:
    """The last part of a key or of a config group's name; a class goes by what it is the class of."""
    return key.removesuffix("._target_").rpartition("@")[2].rpartition("/")[2].rpartition(".")[2]


def natural(name: str) -> list[tuple[bool, float, str]]:
    """Sorts numbers within names by their size."""
    words = name.replace("=", " ").split()
    return [(number(word) is None, number(word) or 0.0, word) for word in words]


def number(word: str) -> float | None:
    """A word's value, None where it is no finite number."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
