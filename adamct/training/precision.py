"""Which values of ``trainer.precision`` train."""

from typing import Any

import torch

from adamct.errors import require

WORKING = "32-true, 64-true, bf16-true, bf16-mixed or, on a GPU, 16-mixed"
REFUSED = {
    "16-true": "gradients underflow in half precision, which Adam divides by",
    "transformer-engine": "its 8-bit layers take no batches of any size and length",
    "transformer-engine-float16": "its 8-bit layers take no batches of any size and length",
}


def require_trains(precision: Any) -> None:
    """Refuse a precision that cannot train these models.

    Raises:
        InputError: with the reason and the precisions that work.
    """
    reason = REFUSED.get(str(precision))
    require(reason is None, f"trainer.precision={precision}: {reason}; give {WORKING}")


def require_kept(precision: Any, kept: str, device: torch.device) -> None:
    """Refuse a precision that the trainer's device does not have.

    Args:
        precision: the one asked for.
        kept: the one that Lightning takes.
        device: the trainer's.

    Raises:
        InputError: Lightning has put another precision in its place, or would fail when it moves the model.
    """
    replaced = str(precision) in ("16", "16-mixed") and kept != "16-mixed"
    missing = kept == "64-true" and device.type == "mps"
    require(not replaced and not missing, f"trainer.precision={precision}: not on this device ({device}); give another")
