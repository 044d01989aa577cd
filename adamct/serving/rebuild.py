"""The model that a checkpoint describes, built without trust in the checkpoint.

A checkpoint may come from anywhere, and Hydra calls whatever a config names. Here a name is first resolved to a class
and checked, and only classes that models are made of are ever called. Interpolations are not resolved.
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
"""The modules of models. Any module there counts, so that a new model needs no entry in a list."""
NAMED = re.compile(rf"({re.escape(MODELS)}\w+)\.(\w+)")
OF_TORCH = {"torch.nn.Identity": nn.Identity}
"""The classes of torch that configs of models name."""
SPECIAL = re.compile(r"_\w+_")
"""Keys that Hydra gives a meaning."""


def rebuild(config: object, spec: DataSpec) -> NextItemModel:
    """Build the model of a config as ``conf/model`` composes it, with interpolations resolved.

    Raises:
        InputError: the config names something else than parts of a model.
    """
    if not isinstance(config, dict) or "_target_" not in config:
        raise InputError("does not say which model it is of")
    make_model = built({**config, "_partial_": True})
    model_class = part(config["_target_"])
    require(issubclass(model_class, NextItemModel), f"names {model_class.__name__} as its model, which is only a part")
    return make_model(spec)


def built(value: Any) -> Any:
    """Build what a value of a config names, however deep in dicts and lists; other values stay as they are."""
    if isinstance(value, list):
        return [built(item) for item in value]
    if isinstance(value, str):
        require("${" not in value, f"holds the interpolation {value!r:.80}: its config must be resolved")
    if not isinstance(value, dict):
        return value
    special = {key for key in value if not isinstance(key, str) or SPECIAL.fullmatch(key)}
    allowed = {"_target_", "_partial_"} if "_target_" in value else set()
    require(special <= allowed, f"holds the keys {sorted(map(str, special - allowed))}, which no config of a model has")
    values = {key: built(item) for key, item in value.items() if key not in special}
    if "_target_" not in value:
        return values
    as_partial = value.get("_partial_", False)
    require(isinstance(as_partial, bool), "holds a key _partial_ that is neither true nor false")
    make = partial(part(value["_target_"]), **values)
    return make if as_partial else make()


def part(target: object) -> type:
    """Return the class of a name, which is not called.

    Raises:
        InputError: it is no class of the kind that models are made of.
    """
    if isinstance(target, str) and target in OF_TORCH:
        return OF_TORCH[target]
    named = NAMED.fullmatch(target) if isinstance(target, str) else None
    found = getattr(import_module(named[1]), named[2], None) if named else None
    if isinstance(found, type) and issubclass(found, nn.Module | tuple) and found.__module__.startswith(MODELS):
        return found
    raise InputError(
        f"names {target!r:.80}, which is not loaded: a model is made of classes of adamct.models that are a "
        f"torch.nn.Module or a NamedTuple, and of {', '.join(OF_TORCH)}"
    )
