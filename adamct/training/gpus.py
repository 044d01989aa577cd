"""The choice of a GPU for a run, so that jobs side by side share the GPUs evenly."""

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
def on_least_used_gpu(make_trainer: partial[pl.Trainer]) -> Iterator[partial[pl.Trainer]]:
    """Put a trainer of one device on the GPU with the fewest runs, if there are several GPUs.

    Other trainers stay unchanged.
    """
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
    """Hold the first of the devices with the fewest holders, until the block or the process ends.

    Args:
        count: the number of devices; more runs than devices share them evenly.
        folder: the folder of the locks, on a disk of this machine.
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
