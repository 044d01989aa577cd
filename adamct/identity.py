"""The identity of a run: the keys of its config on which its numbers depend, and what its data is.

Resumed runs, claims on folders, loaded weights, names of folders and comparisons in reports all use the lists below. A
key in no list belongs to the identity, so that a new key is never forgotten. A name in a list stands for the key itself
and for all keys below it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from adamct.keys import flat

EXECUTION = (
    "output_dir",
    "data_dir",
    "preview",
    "references",
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
"""The keys of how a run is executed and shown; they change the numbers by rounding only."""
SOURCE = ("dataset.path",)
"""The keys of the place of the data; the data itself identifies a run."""
EXTENT = (
    "label",
    "dataset.name",
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
"""The keys of a run's length, its stages and its name in reports; a resumed run may change them."""
SEEDS = ("seed", "dataset.seed", "dataset.negatives.seed")
"""The keys in which repetitions of one experiment differ."""

DATA = ("dataset.sha256", "dataset.num_items", "dataset.num_users")
TEST_ITEMS = (*DATA, "dataset.split", "dataset.ties", "dataset.ties_seed")
"""The keys that determine each user's test item."""
WEIGHTS = ("model", *TEST_ITEMS, "dataset.max_len")
"""The keys in which a run must agree with the weights that it tests."""
PROTOCOL = (*DATA, "dataset.split", "dataset.ties", "dataset.negatives.count", "dataset.negatives.exclude")
"""The keys in which runs must agree for their metrics to be compared."""


def identity_of(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of a run, as nested dicts of JSON types.

    Args:
        config: the resolved config.
        facts: facts about the data, by their keys below ``dataset``.
    """
    plain = as_json(config)
    identity = omit(plain, (*EXECUTION, *SOURCE, *EXTENT))
    identity["dataset"] |= as_json(facts)
    if "fit" not in plain["stages"]:
        identity["ckpt"] = plain["ckpt"]  # the numbers are those of these weights
    return identity


def fingerprint_of_test_items(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the part of an identity that determines the test items, in hexadecimal digits."""
    values = {key: value for key, value in flat(dict(identity)).items() if named(key, TEST_ITEMS)}
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def as_json(value: Any) -> Any:
    """Return a value as it is after a round trip through JSON, which turns numeric keys into text."""
    return json.loads(json.dumps(value))


def omit(config: Mapping[str, Any], names: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts without the keys that the dotted names stand for."""
    return {
        name: omit(value, names, f"{key}.") if isinstance(value, Mapping) else value
        for name, value in config.items()
        if (key := f"{prefix}{name}") not in names
    }


def named(key: str, names: Iterable[str]) -> bool:
    """Return whether one of the names stands for a dotted key."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], names: Iterable[str] | None = None
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each dotted key in which two identities differ, with both values; the most important keys come first.

    Args:
        one: an identity.
        other: another identity.
        names: the names of the keys to compare; None compares all.
    """
    first, second = flat(dict(one)), flat(dict(other))
    keys = [key for key in first.keys() | second.keys() if names is None or named(key, names)]
    for key in sorted(keys, key=lambda key: (key != "model._target_", not named(key, DATA), key.count("."), key)):
        if first.get(key) != second.get(key):
            yield key, first.get(key), second.get(key)
