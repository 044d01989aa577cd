"""Dotted keys."""

from typing import Any


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one of dotted keys; empty ones are values."""
    keys: dict[str, Any] = {}
    for name, value in config.items():
        inner = isinstance(value, dict) and value
        keys |= flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return keys
