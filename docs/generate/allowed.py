"""The values that a key of the config may have, in words."""

from collections.abc import Iterable, Mapping
from inspect import isclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator

from adamct.runs.schema import Trainer, arguments_of_node, keys_of
from adamct.values import LARGEST, OddInt, as_yaml

NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text", NoneType: "null"}
RANGES = {Ge: ("at least", "ge"), Gt: ("above", "gt"), Le: ("at most", "le"), Lt: ("below", "lt")}


def allowed(annotation: Any) -> str:
    """Describe the values that an annotation allows; empty if it allows any."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in NAMES:
        return NAMES[annotation]
    if origin is Annotated:
        limits = ", ".join(filter(None, map(limit, args[1:])))
        return f"{allowed(args[0])} ({limits})" if limits else allowed(args[0])
    if origin in (Union, UnionType):
        return " or ".join(filter(None, dict.fromkeys(map(allowed, args))))
    if origin is Literal:
        return ", ".join(f"`{as_yaml(value)}`" for value in args)
    kind = origin or annotation
    if not isclass(kind) or kind is object or annotation is Any:
        return ""
    if issubclass(kind, Mapping):
        return "mapping"
    if issubclass(kind, Iterable) and args:
        return f"list of: {allowed(args[0])}" if allowed(args[0]) else "list"
    return "node with a `_target_`" if kind.__module__ != "inspect" else ""


def limit(metadata: Any) -> str:
    """Describe a limit of an annotation; empty if it only says that the number fits into its type."""
    if isinstance(metadata, AfterValidator):
        return "odd" if metadata in get_args(OddInt) else ""
    if isinstance(metadata, MinLen) or getattr(metadata, "le", None) == LARGEST:
        return ""
    words, attribute = next((words for kind, words in RANGES.items() if isinstance(metadata, kind)), ("", ""))
    return f"{words} {getattr(metadata, attribute)}" if words else ""


def allowed_of_node(target: str | None) -> dict[str, str]:
    """Describe the values of each argument of a ``_target_``."""
    if target is None:
        return {}
    annotations = arguments_of_node("", {"_target_": target}).annotations
    return {name: allowed(annotation) for name, annotation in annotations.items()}


def allowed_of_trainer() -> dict[str, str]:
    """Describe the values of the trainer's keys, of which Lightning does not state all ranges."""
    own = {name: allowed(annotation) for name, annotation in keys_of(Trainer).annotations.items()}
    return allowed_of_node("pytorch_lightning.Trainer") | own
