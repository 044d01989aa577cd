"""Dotted keys of a config."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


def flat(config: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dicts into one dict with dotted keys; an empty dict stays a value."""
    keys: dict[str, Any] = {}
    for name, value in config.items():
        inner = isinstance(value, Mapping) and value
        keys |= flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return keys


def keys(config: Mapping[str, Any]) -> set[str]:
    """Return the dotted keys of a config, both of values and of nodes."""
    single = {key for key in flat(config) if not key.endswith("_")}  # such as _target_
    return single | {key.rpartition(".")[0] for key in single} - {""}


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of an error message that suggests the most similar name; empty if no name is similar."""
    near = get_close_matches(name, set(names) - {name}, n=1)
    return f"; did you mean {near[0]}?" if near else ""
