"""How a checkpoint is written, and what it is checked for before its weights are used."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from adamct.errors import InputError
from adamct.keys import flat


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the final name and renames: whenever a run is killed, its checkpoints are whole.

    Lightning's own writes to the system's folder for temporary files and copies from there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint, whole or not at all."""
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


def read_checkpoint(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Load a checkpoint of this model and dataset onto the CPU; nothing in it is executed.

    Raises:
        InputError: a missing or corrupt file, or one of another model or dataset.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for broken archives
        raise InputError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); is the file complete?"
        ) from error
    check_identity(checkpoint, identity, str(path))
    return checkpoint


def check_identity(checkpoint: dict[str, Any], identity: dict[str, Any], name: str = "checkpoint") -> None:
    """Compare what a checkpoint was trained as with what this run is, in all that the identity tells.

    Raises:
        InputError: naming the first key that differs.
    """
    if not isinstance(checkpoint, dict) or "identity" not in checkpoint:
        raise InputError(f"{name}: not a checkpoint of this project")
    saved, now = flat({key: checkpoint["identity"].get(key) for key in identity}), flat(identity)
    telling = sorted(saved.keys() | now.keys(), key=lambda key: (key != "model._target_", key == "dataset.sha256", key))
    for key in telling:
        if saved.get(key) != now.get(key):
            raise InputError(
                f"{name}: was trained with {key}={saved.get(key)}, but this run has {key}={now.get(key)}; "
                "give the overrides it was trained with, or another hydra.run.dir"
            )
