"""The identity of a run: the keys of its config on which its numbers depend, and what its data is.

A run that goes on, a folder that another run asks for, weights that are read back, the names of folders and the
comparisons of a report all read the lists of this file. A key that no list has belongs to the identity, so a new key
is never forgotten. A name in a list stands for the key itself and for all keys below it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from adamct.keys import flat

EXECUTION = (
    "output_dir",
    "data_dir",
    "resume",
    "save_every_n_steps",
    "threads",
    "logger",
    "dataset.cache_dir",
    "dataset.download",
    "dataset.eval_batch_size",
    "dataset.expect",
    "dataset.folder",
    "dataset.mirrors",
    "trainer.accelerator",
    "trainer.detect_anomaly",
    "trainer.devices",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.num_nodes",
    "trainer.num_sanity_val_steps",
    "trainer.plugins",
    "trainer.profiler",
    "trainer.strategy",
    "trainer.sync_batchnorm",
)
"""Where, by what means and how visibly a run is executed; no number depends on it but by rounding."""
SOURCE = ("dataset.path",)
"""Where the data is read from: the data itself identifies a run."""
EXTENT = (
    "label",
    "stages",
    "ckpt",
    "predict",
    "patience",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.min_epochs",
    "trainer.min_steps",
)
"""How far a run goes, what it does in the end, and its name in reports. A run that goes on may change them."""
SEEDS = ("seed", "dataset.seed", "dataset.negatives.seed")
"""What repetitions of one experiment differ in."""

DATA = ("dataset.sha256", "dataset.num_items", "dataset.num_users")
WEIGHTS = ("model", *DATA, "dataset.max_len", "dataset.split", "dataset.ties", "dataset.ties_seed")
"""What a run must agree on with the weights that it tests."""
PROTOCOL = (*DATA, "dataset.split", "dataset.ties", "dataset.negatives.count", "dataset.negatives.exclude")
"""What runs must agree on whose metrics are compared."""


def identity_of(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of a run, as nested dicts of what JSON knows.

    Args:
        config: the resolved config.
        facts: what the data is, by the keys that they have below ``dataset``.
    """
    given = as_json(config)
    identity = omit(given, (*EXECUTION, *SOURCE, *EXTENT))
    identity["dataset"] |= as_json(facts)
    if "fit" not in given["stages"]:
        identity["ckpt"] = given["ckpt"]  # its numbers are those of these weights
    return identity


def as_json(value: Any) -> Any:
    """Return a value as JSON gives it back: numbers as keys become text."""
    return json.loads(json.dumps(value))


def omit(config: Mapping[str, Any], names: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts without the keys that some dotted names stand for."""
    return {
        name: omit(value, names, f"{key}.") if isinstance(value, Mapping) else value
        for name, value in config.items()
        if (key := f"{prefix}{name}") not in names
    }


def named(key: str, names: Iterable[str]) -> bool:
    """Whether one of some names stands for a dotted key."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], names: Iterable[str] | None = None
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each dotted key in which two identities differ, and both values; the most telling keys come first.

    Args:
        one: an identity.
        other: another.
        names: what they are to agree on; None is everything.
    """
    first, second = flat(dict(one)), flat(dict(other))
    keys = [key for key in first.keys() | second.keys() if names is None or named(key, names)]
    for key in sorted(keys, key=lambda key: (key != "model._target_", not named(key, DATA), key.count("."), key)):
        if first.get(key) != second.get(key):
            yield key, first.get(key), second.get(key)
