"""Checks of ``trainer.precision``."""

from typing import Any

import torch

from adamct.errors import require

WORKING = "32-true, 64-true, bf16-true, bf16-mixed or, on a GPU, 16-mixed"
REFUSED = {
    "16-true": "Adam divides by gradients, which underflow in half precision",
    "transformer-engine": "its 8-bit layers do not take batches of every size and length",
    "transformer-engine-float16": "its 8-bit layers do not take batches of every size and length",
}


def require_trains(precision: Any) -> None:
    """Refuse a precision that cannot train these models.

    Raises:
        InputError: the precision does not work.
    """
    reason = REFUSED.get(str(precision))
    require(reason is None, f"trainer.precision={precision}: {reason}; give {WORKING}")


def require_supported(precision: Any, selected: str, device: torch.device) -> None:
    """Refuse a precision that the trainer's device does not have.

    Args:
        precision: the value of the key.
        selected: the precision that Lightning has selected.
        device: the trainer's device.

    Raises:
        InputError: Lightning has selected another precision, or would fail when it moves the model.
    """
    replaced = str(precision) in ("16", "16-mixed") and selected != "16-mixed"
    missing = selected == "64-true" and device.type == "mps"
    require(
        not replaced and not missing,
        f"trainer.precision={precision}: not supported on {device}; give another precision",
    )
