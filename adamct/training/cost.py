"""The cost of a run: parameters, FLOPs, time and memory."""

import logging
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from adamct.batch import Batch
from adamct.errors import on_one_line
from adamct.models.base import NextItemModel, VectorModel
from adamct.training.callbacks import Timing

log = logging.getLogger(__name__)


def cost(model: NextItemModel, device: torch.device, max_len: int, longest: int, timing: Timing) -> dict[str, Any]:
    """Return the parameters, the FLOPs of a query, the median seconds of epoch and validation, and a GPU's peak MiB.

    The peak on a CPU is None: it is that of the process, and grows with the jobs before.

    Args:
        model: the trained model.
        device: its device.
        max_len: the width of the batches for models that pad to it.
        longest: the number of items of the longest history, at most ``max_len``.
        timing: the times of the run's epochs.
    """
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "flops_per_query": flops(model, device, max_len if model.pad_to_max_len else longest, longest),
        "train_seconds_per_epoch": median(timing.train_seconds) if timing.train_seconds else None,
        "validation_seconds": median(timing.validation_seconds) if timing.validation_seconds else None,
        "epochs": len(timing.train_seconds),
        "peak_gpu_memory_mib": torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None,
    }


def flops(model: NextItemModel, device: torch.device, width: int, length: int) -> int | None:
    """Return the FLOPs of one user's query, with a history of ``length`` items in a batch of ``width`` items.

    Return None if the model has no queries, or if they cannot be counted, for example because memory is short. The run
    is recorded without them.
    """
    if not isinstance(model, VectorModel):
        return None
    one = torch.ones(1, dtype=torch.long, device=device)
    model.eval()
    try:
        item_seq = (torch.arange(width, device=device) < length).long()[None]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.queries(Batch(user=one - 1, item_seq=item_seq, seq_len=one * length, target=one))
    except Exception as error:  # any library below the model may fail
        log.warning("FLOPs of a query: not counted (%s: %.200s)", type(error).__name__, on_one_line(error))
        return None
    return counter.get_total_flops()
