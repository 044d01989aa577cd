"""What a user can mend is told in one line; anything else is a bug of ours and keeps its traceback."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any, cast

from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from adamct.keys import keys, nearest


class InputError(Exception):
    """A mistake in a file, a config key or a checkpoint: one line that names it and says what to do."""


def require(holds: bool, otherwise: str) -> None:
    """Raise `InputError` with a message unless a condition holds."""
    if not holds:
        raise InputError(otherwise)


@contextmanager
def blame(key: str) -> Iterator[None]:
    """Lay what a constructor or library refuses at the door of the config key whose values it was given."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # libraries refuse arguments with all kinds
        raise InputError(f"{key}: {on_one_line(error)}; HYDRA_FULL_ERROR=1 shows where") from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Re-raise what the operating system refuses, such as for a full disk, as an InputError that names the folder."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # NumPy and polars raise errors without a file and a number; polars' own tell the system's by their text alone.
        if not isinstance(error, OSError) and "(os error " not in str(error):
            raise
        reason = getattr(error, "strerror", None) or on_one_line(error)
        raise InputError(
            f"{folder}: {reason}; data_dir and hydra.run.dir must be on a disk with space, where you may write"
        ) from error


def explain(error: BaseException) -> str | None:
    """One line for an error a user can mend, None for a bug."""
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
    if isinstance(error, ValueError | TypeError) and raised_in(error) == "hydra":
        found = innermost(error).f_locals  # where Hydra refuses a group's choice, its message leaves the group out
        override, default = found.get("override"), found.get("d")
        group = getattr(override, "input_line", None) or getattr(default, "group", None)
        return group and f"{group}: not the name of a choice ({on_one_line(error)})"
    refusal = isinstance(error, ValueError | ImportError) or type(error).__name__ == "MisconfigurationException"
    if refusal and raised_in(error) in ("pytorch_lightning", "lightning_fabric"):
        return f"trainer: {on_one_line(error)}; HYDRA_FULL_ERROR=1 shows where"
    return None


def explain_composition(error: Exception) -> str:
    """One line for what Hydra cannot compose, with what may have been meant in place of what it cannot find."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice}: must be one of {', '.join(error.options)}{nearest(choice, error.options)}"
    cause = error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.parent_node is not None:
        config = cast(dict[str, Any], OmegaConf.to_container(cause.parent_node._get_root()))
        key = str(error).split("'")[1]
        return f"{key}: there is no such key{nearest(key, keys(config))}"
    line, *_ = re.split(r" (?:Config search path|To append to your)", on_one_line(error))
    return line


def raised_in(error: BaseException) -> str:
    """The package whose code raised an error."""
    return innermost(error).f_globals.get("__name__", "").partition(".")[0]


def innermost(error: BaseException) -> FrameType:
    """The frame that raised an error."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame


def on_one_line(error: BaseException) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())
