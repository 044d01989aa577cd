"""The optional packages that parts of the config need, and the extras that install them."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from adamct.errors import require

MODULES = {
    "comet": ("comet_ml",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "hub": ("safetensors", "huggingface_hub"),
    "mlflow": ("mlflow",),
    "search": ("optuna",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb_workspaces",),
}
"""The modules that show whether an extra is installed, by the extra's name in ``pyproject.toml``."""
TARGETS = {
    "adamct.loggers.comet_run.": "comet",
    "adamct.loggers.mlflow_run.": "mlflow",
    "adamct.loggers.tensorboard_run.": "tensorboard",
    "optuna.": "search",
}
"""The extra that a node of a config needs, by the beginning of its ``_target_``."""


def require_extra(extra: str, user: str) -> None:
    """Refuse to go on without an extra.

    Args:
        extra: the extra's name.
        user: the option or command that needs it, for the message.

    Raises:
        InputError: the extra is not installed. The message has the command that installs it.
    """
    missing = [module for module in MODULES[extra] if find_spec(module) is None]
    require(not missing, f"{user} needs missing packages ({', '.join(missing)}): pip install 'adamct[{extra}]'")


def require_extras(key: str, node: Mapping[str, Any]) -> None:
    """Refuse a node of a config if the extra of its ``_target_`` is not installed. Imports nothing.

    Args:
        key: the node's key, for the message.
        node: the node.

    Raises:
        InputError: names the key and the extra.
    """
    target = str(node["_target_"])
    for beginning, extra in TARGETS.items():
        if target.startswith(beginning):
            require_extra(extra, key)
