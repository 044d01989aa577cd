"""What a user can mend is told in one line; anything else is a bug of ours and keeps its traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException


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
        return on_one_line(error).partition(" Config search path")[0]
    refusal = isinstance(error, ValueError | ImportError) or type(error).__name__ == "MisconfigurationException"
    if refusal and raised_in(error) in ("pytorch_lightning", "lightning_fabric"):
        return f"trainer: {on_one_line(error)}; HYDRA_FULL_ERROR=1 shows where"
    return None


def raised_in(error: BaseException) -> str:
    """The package whose code raised an error."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").partition(".")[0]


def on_one_line(error: BaseException) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())
