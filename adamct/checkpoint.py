"""Writing and reading of checkpoints."""

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from adamct.errors import InputError
from adamct.identity import differences


class AtomicCheckpointIO(TorchCheckpointIO):
    """A checkpoint plugin that writes a temporary file and renames it. A killed run leaves no incomplete checkpoint.

    Lightning's own plugin writes to the system's folder for temporary files and copies from there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a complete checkpoint or, on an error, none."""
        final = Path(path)
        partial = final.with_suffix(".partial")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(buffer.getbuffer())
            os.replace(partial, final)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(final)) from error


def read_checkpoint(
    path: Path, identity: dict[str, Any], names: Iterable[str] | None = None, key: str = "hydra.run.dir"
) -> dict[str, Any]:
    """Load a checkpoint onto the CPU, without executing its content, and compare its identity with the run's.

    Args:
        path: the checkpoint's file.
        identity: the identity of the run, as `adamct.identity.identity_of` returns it.
        names: the parts of the identity that must be equal; None compares all parts of ``identity``.
        key: the config key by which the run found the checkpoint.

    Raises:
        InputError: the file is missing or corrupt, or the checkpoint's identity differs.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for corrupt files
        raise InputError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); is the file complete?"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("identity"), dict):
        raise InputError(f"{path}: not a checkpoint of this project")
    names = tuple(identity) if names is None else names
    for part, before, now in differences(checkpoint["identity"], identity, names):
        raise InputError(
            f"{path}: was trained with {part}={before}, but this run has {part}={now}; "
            f"give the overrides and the data that it was trained with, or another {key}"
        )
    return checkpoint
