"""Errors of users, each in one line that says what to do. Any other error is a bug and keeps its traceback."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from adamct.keys import in_shell, keys, nearest, override_with

PLUGINS = {
    "hydra/launcher/ray": "ray",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/submitit_slurm": "slurm",
}
"""The extras whose plugins of Hydra have configs, by the names of these configs."""


class InputError(Exception):
    """A mistake in a file, a config key or a checkpoint. Its message is one line that names it and says what to do."""


def require(condition: bool, message: str) -> None:
    """Raise `InputError` with a message unless a condition holds."""
    if not condition:
        raise InputError(message)


@contextmanager
def naming_key(key: str) -> Iterator[None]:
    """Re-raise any error as an `InputError` that names a config key. An `InputError` is raised unchanged."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # libraries raise many types for wrong arguments
        raise InputError(f"{key}: {on_one_line(error)}; HYDRA_FULL_ERROR=1 shows where") from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Re-raise an error of the operating system, such as a full disk, as an `InputError` that names a folder."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # NumPy's errors have no file and number. In those of polars only the text shows an error of the system.
        if not isinstance(error, OSError) and "(os error " not in str(error):
            raise
        reason = getattr(error, "strerror", None) or on_one_line(error)
        raise InputError(
            f"{folder}: {reason}; data_dir and hydra.run.dir must be on a disk with space that you may write to"
        ) from error


@contextmanager
def exiting_on_mistake() -> Iterator[None]:
    """End the process of a command with one line for a mistake of the user. A bug keeps its traceback."""
    try:
        yield
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        sys.exit(f"error: {line}")


def explain(error: BaseException) -> str | None:
    """Return one line for a mistake of the user; None for a bug."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        cause = explain(error.__cause__)
        key = str(error).rpartition("full_key: ")[2]
        return cause or f"{key}: {on_one_line(error.__cause__)}; HYDRA_FULL_ERROR=1 shows where"
    if isinstance(error, OSError) and error.strerror is not None and not isinstance(error, ConnectionError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; data_dir and hydra.run.dir must be on a disk with space to write"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is not set: give {error.full_key}=VALUE"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return explain_composition(error)
    if isinstance(error, ValueError | TypeError) and raising_package(error) == "hydra":
        variables = raising_frame(error).f_locals  # Hydra's message on an invalid choice leaves out the group
        override, default = variables.get("override"), variables.get("d")
        group = getattr(override, "input_line", None) or getattr(default, "group", None)
        return group and f"{group}: must be the name of a choice ({on_one_line(error)})"
    if isinstance(error, RuntimeError) and raising_module(error).startswith("pytorch_lightning.callbacks."):
        return f"callbacks: {on_one_line(error)}; HYDRA_FULL_ERROR=1 shows where"
    refusal = isinstance(error, ValueError | ImportError) or type(error).__name__ == "MisconfigurationException"
    if refusal and raising_package(error) in ("pytorch_lightning", "lightning_fabric"):
        return f"trainer: {on_one_line(error)}; HYDRA_FULL_ERROR=1 shows where"
    return None


def explain_composition(error: Exception) -> str:
    """Return one line for a config that Hydra cannot compose, with a suggestion for a mistyped name."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in PLUGINS:
        return f"{on_one_line(error)} It needs an extra: pip install 'adamct[{PLUGINS[error.missing_cfg_file]}]'"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice}: must be one of {', '.join(error.options)}{nearest(choice, error.options)}"
    cause = error.__cause__
    if isinstance(error, OverrideParseException) and cause is None:  # a cause is a mistake in a function, as interval
        return explain_override(error.override)
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.parent_node is not None:
        config = cast(dict[str, Any], OmegaConf.to_container(cause.parent_node._get_root()))
        key = str(error).split("'")[1]
        return f"{key}: there is no such key{nearest(key, keys(config))}"
    line, *_ = re.split(r" (?:Config search path|To append to your)", on_one_line(error))
    return line


def explain_override(override: str) -> str:
    """Return one line for an override that Hydra's grammar cannot read, with quotes around its value if they help."""
    key, equals, value = override.partition("=")
    text = value[1:-1] if re.fullmatch("'.*'|\".*\"", value) else value
    quoted = override_with(key, text)
    if equals:
        with suppress(HydraException):  # if the key cannot be read either
            OverridesParser.create().parse_override(quoted)
            advice = "if it is text, put it in quotes within the shell's quotes"
            return f"{override}: the value cannot be read; {advice}: {in_shell(quoted)}"
    return f"{override}: must be KEY=VALUE"


def raising_package(error: BaseException) -> str:
    """Return the name of the package that raised an error."""
    return raising_module(error).partition(".")[0]


def raising_module(error: BaseException) -> str:
    """Return the name of the module that raised an error."""
    return raising_frame(error).f_globals.get("__name__", "")


def raising_frame(error: BaseException) -> FrameType:
    """Return the frame that raised an error."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame


def on_one_line(error: BaseException) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split())
