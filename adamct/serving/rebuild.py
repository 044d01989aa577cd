"""Building the model that a checkpoint describes, without trusting the checkpoint.

A checkpoint may come from anywhere, and Hydra would call whatever its config names. Here each name is resolved to a
class and checked first. Only classes that models are made of are called. Interpolations are not resolved.
"""

import re
from functools import partial
from importlib import import_module
from typing import Any

from torch import nn

from adamct.batch import DataSpec
from adamct.errors import InputError, require
from adamct.models.base import NextItemModel

MODELS = "adamct.models."
"""The prefix of the modules of models. A new model there needs no entry in a list."""
MODEL_CLASS = re.compile(rf"({re.escape(MODELS)}\w+)\.(\w+)")
TORCH_CLASSES = {"torch.nn.Identity": nn.Identity}
"""The classes of torch that configs of models may name."""
HYDRA_KEY = re.compile(r"_\w+_")
"""Keys with a meaning to Hydra."""


def rebuild(config: object, spec: DataSpec) -> NextItemModel:
    """Build a model from its config, as ``conf/model`` composes it, with resolved interpolations.

    Raises:
        InputError: the config names anything but parts of a model, or has keys that a model's config has not.
    """
    if not isinstance(config, dict) or "_target_" not in config:
        raise InputError("has no config of a model")
    make_model = build_node({**config, "_partial_": True})
    model_class = resolve_class(config["_target_"])
    require(
        issubclass(model_class, NextItemModel),
        f"names {model_class.__name__} as its model: must be a subclass of NextItemModel",
    )
    return make_model(spec)


def build_node(node: Any) -> Any:
    """Build all objects that a node of a config names at any depth, and return the node with them."""
    if isinstance(node, list):
        return [build_node(item) for item in node]
    if isinstance(node, str):
        require("${" not in node, f"has the interpolation {node!r:.80}: must be resolved")
    if not isinstance(node, dict):
        return node
    special = {key for key in node if not isinstance(key, str) or HYDRA_KEY.fullmatch(key)}
    allowed = {"_target_", "_partial_"} if "_target_" in node else set()
    require(special <= allowed, f"has the keys {sorted(map(str, special - allowed))}, which no config of a model has")
    values = {key: build_node(item) for key, item in node.items() if key not in special}
    if "_target_" not in node:
        return values
    as_partial = node.get("_partial_", False)
    require(isinstance(as_partial, bool), f"has _partial_={as_partial!r:.80}: must be true or false")
    make = partial(resolve_class(node["_target_"]), **values)
    return make if as_partial else make()


def resolve_class(target: object) -> type:
    """Return the class with a name, without calling it.

    Raises:
        InputError: the name is not that of a class that models are made of.
    """
    if isinstance(target, str) and target in TORCH_CLASSES:
        return TORCH_CLASSES[target]
    match = MODEL_CLASS.fullmatch(target) if isinstance(target, str) else None
    value = getattr(import_module(match[1]), match[2], None) if match else None
    if isinstance(value, type) and issubclass(value, nn.Module | tuple) and value.__module__.startswith(MODELS):
        return value
    raise InputError(
        f"names {target!r:.80}, which is not loaded: a model is made of classes of adamct.models that are a "
        f"torch.nn.Module or a NamedTuple, and of {', '.join(TORCH_CLASSES)}"
    )
