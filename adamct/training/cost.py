"""The cost of a run: parameters, FLOPs, time and memory."""

import platform
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from adamct.batch import Batch
from adamct.errors import on_one_line
from adamct.models.base import NextItemModel
from adamct.training.callbacks import Timing


def cost(model: NextItemModel, device: torch.device, max_len: int, longest: int, timing: Timing) -> dict[str, Any]:
    """Return parameters, FLOPs of a query, median seconds an epoch, peak memory in MiB.

    Args:
        model: the trained model.
        device: where it is.
        max_len: the width of batches of models that need all of it.
        longest: the items of the longest history, at most ``max_len``.
        timing: of the run's epochs.
    """
    on_gpu = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_resident_mib()
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "flops_per_query": flops(model, device, max_len if model.pad_to_max_len else longest, longest),
        "train_seconds_per_epoch": median(timing.train_seconds) if timing.train_seconds else None,
        "validation_seconds": median(timing.validation_seconds) if timing.validation_seconds else None,
        "epochs": len(timing.train_seconds),
        "peak_memory_mib": peak,
    }


def flops(model: NextItemModel, device: torch.device, width: int, length: int) -> int | None:
    """Return the FLOPs of one user's query after a history of some length in a batch of some width.

    None where they cannot be counted, as where memory is short: what a run found out is recorded all the same.
    """
    one = torch.ones(1, dtype=torch.long, device=device)
    model.eval()
    try:
        item_seq = (torch.arange(width, device=device) < length).long()[None]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.queries(Batch(user=one - 1, item_seq=item_seq, seq_len=one * length, target=one))
    except Exception as error:  # of any library below the model
        print(f"FLOPs of a query: not counted ({type(error).__name__}: {on_one_line(error):.200})")
        return None
    return counter.get_total_flops()


def peak_resident_mib() -> float | None:
    """Return the most memory the process has held, None where the system does not tell, as on Windows."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if platform.system() == "Darwin" else 1)
    return kib / 1024
