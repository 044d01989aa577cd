"""Dotted keys of a config, and their overrides."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString


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


def override_with(key: str, text: str) -> str:
    """Return the override that gives a key a text, with any characters."""
    quote = Quote.double if "'" in text else Quote.single
    return f"{key}={QuotedString(text, quote).with_quotes()}"


def in_shell(word: str) -> str:
    """Return a word in double quotes as a shell reads it: an override's own quotes stay readable in them."""
    return '"' + re.sub(r'(["\\$`])', r"\\\1", word) + '"'
