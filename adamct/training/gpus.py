"""The choice of a GPU for a run, so that concurrent jobs share the GPUs evenly."""

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
    options = make_trainer.keywords
    on_one = options.get("devices") == 1 and options.get("accelerator") in ("auto", "gpu", "cuda")
    count = torch.cuda.device_count() if on_one else 0
    if count < 2:
        yield make_trainer
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    with least_used(count, Path(tempfile.gettempdir()) / f"adamct-{getpass.getuser()}" / f"gpus-{visible}") as gpu:
        yield partial(make_trainer, devices=[gpu])


@contextmanager
def least_used(count: int, folder: Path) -> Iterator[int]:
    """Hold the first device with the fewest holders until the block or the process ends.

    Args:
        count: the number of devices. More runs than devices share them evenly.
        folder: the folder of the locks, on a disk of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        share, device = divmod(number, count)
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
