"""What a user can mend is told in one line; anything else is a bug of ours and keeps its traceback."""

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException


class InputError(Exception):
    """A mistake in a file, a config key or a checkpoint: one line that names it and says what to do."""


def require(holds: bool, otherwise: str) -> None:
    """Raise `InputError` with a message unless a condition holds."""
    if not holds:
        raise InputError(otherwise)


def explain(error: BaseException) -> str | None:
    """One line for an error a user can mend, None for a bug."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        cause = explain(error.__cause__)
        if cause is not None:
            return cause
        key = str(error).rpartition("full_key: ")[2]
        # A wrong key or type of value reaches the constructor; what it raises deeper down is ours.
        return f"{key}: {on_one_line(error.__cause__)}" if isinstance(error.__cause__, TypeError | ValueError) else None
    if isinstance(error, OSError) and error.strerror is not None:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; data_dir and hydra.run.dir must be on a disk with space to write"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return on_one_line(error)
    return None


def on_one_line(error: BaseException) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())
