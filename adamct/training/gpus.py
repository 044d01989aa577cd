"""Which GPU of several a run takes, so that jobs beside each other share them out."""

import getpass
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout


@contextmanager
def placed(make_trainer: partial[pl.Trainer]) -> Iterator[partial[pl.Trainer]]:
    """A trainer of one device on the GPU that fewest runs are on, where there are several; others as they are."""
    wanted = make_trainer.keywords
    on_one = wanted.get("devices") == 1 and wanted.get("accelerator") in ("auto", "gpu", "cuda")
    count = torch.cuda.device_count() if on_one else 0
    if count < 2:
        yield make_trainer
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    with least_used(count, Path(tempfile.gettempdir()) / f"adamct-{getpass.getuser()}" / f"gpus-{visible}") as gpu:
        yield partial(make_trainer, devices=[gpu])


@contextmanager
def least_used(count: int, folder: Path) -> Iterator[int]:
    """Hold the lowest of some devices that fewest processes hold, until the end of the block or of the process.

    Args:
        count: how many devices there are; more runs than devices share them evenly.
        folder: of the locks, on a disk of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place in itertools.count():
        share, device = divmod(place, count)
        lock = FileLock(folder / f"{device}-{share}")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        try:
            yield device
        finally:
            lock.release()
        return
