"""Dotted keys."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


def flat(config: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one of dotted keys; empty ones are values."""
    keys: dict[str, Any] = {}
    for name, value in config.items():
        inner = isinstance(value, Mapping) and value
        keys |= flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return keys


def keys(config: Mapping[str, Any]) -> set[str]:
    """Return the dotted keys of a config, those of single values and those of nodes."""
    single = {key for key in flat(config) if not key.endswith("_")}  # such as _target_
    return single | {key.rpartition(".")[0] for key in single} - {""}


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the rest of a sentence that suggests the nearest of some names for a mistyped one, if one is near."""
    near = get_close_matches(name, set(names) - {name}, n=1)
    return f"; did you mean {near[0]}?" if near else ""
