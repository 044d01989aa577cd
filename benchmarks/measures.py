"""One measurement, in a process of its own: ``python -m benchmarks.measures KIND SIDE [OVERRIDE ...]`` prints JSON."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate

from adamct import kernels
from adamct.batch import Batch, EvaluationBatch
from adamct.evaluation.ranking import rank_targets
from adamct.models.base import VectorModel
from adamct.randomness import Stream
from adamct.runs.provenance import peak_resident_mib
from adamct.training.callbacks import now
from adamct.training.step import training_loss
from benchmarks import reference
from benchmarks.loop import loop
from benchmarks.plain_data import prepare
from benchmarks.setup import build
from datamodules.sequences import TrainingBatches
from datamodules.splits import HeldOut

STEPS = {"ours": 48, "reference": 8}
"""Training steps that are timed, after a warm-up."""
WARM_UP = 2
RANKED = {"ours": None, "reference": 256}
"""Users ranked among samples; None means all of them."""
FULLY_RANKED = 4096
"""Users ranked among all items, on both sides."""


def kernels_of(side: str) -> AbstractContextManager[None]:
    """Return a context in which the reference uses torch's own operations."""
    return nullcontext() if side == "ours" else kernels.plain()


def training(side: str, *overrides: str) -> dict[str, float]:
    """Measure training examples per second: batches, loss, gradients and the optimizer's steps."""
    cfg, data, model = build(*overrides, *(["optimizer.fused=false"] if side == "reference" else []))
    data.adapt_batches(model.batch_needs())
    batches = data.train_dataloader()
    if side == "ours":
        epochs, step = our_epochs(batches), training_loss
    else:
        epochs, step = reference.epochs(batches.sequences, batches.examples, batches.batch_size), reference.loss
    optimizer = instantiate(cfg.optimizer)(model.parameters())
    examples, started = 0, 0.0
    with kernels_of(side):
        for number, batch in enumerate(islice(epochs, WARM_UP + STEPS[side])):
            if number == WARM_UP:
                examples, started = 0, now()
            optimizer.zero_grad()
            step(model, batch).backward()
            optimizer.step()
            examples += len(batch.user)
    return {"per_second": examples / (now() - started), "all": len(batches.examples.user)}


def our_epochs(batches: TrainingBatches) -> Iterator[Batch]:
    """Yield the batches of one epoch after another."""
    for epoch in count():
        batches.set_epoch(epoch)
        yield from batches


def sampled(side: str, *overrides: str) -> dict[str, float]:
    """Measure users ranked per second among sampled items; ours makes the other rankings in the same pass."""
    return ranked(side, our_ranks if side == "ours" else reference.sampled_ranks, RANKED[side], *overrides)


def full(side: str, *overrides: str) -> dict[str, float]:
    """Measure users ranked per second among all items; ours makes the other rankings in the same pass."""
    return ranked(side, our_ranks if side == "ours" else reference.full_ranks, FULLY_RANKED, *overrides)


def unseen(side: str, *overrides: str) -> dict[str, float]:
    """Measure users ranked per second among unseen items; ours makes the other rankings in the same pass."""
    return ranked(side, our_ranks if side == "ours" else reference.unseen_ranks, FULLY_RANKED, *overrides)


def our_ranks(model: VectorModel, batch: EvaluationBatch) -> Any:
    """Rank the targets as `adamct.training.module` does."""
    histories, candidates = batch
    return rank_targets(model.scores(histories), histories.target, candidates)


@torch.inference_mode()
def ranked(
    side: str, rank: Callable[[VectorModel, EvaluationBatch], Any], num_users: int | None, *overrides: str
) -> dict[str, float]:
    """Rank users of the validation split, evenly chosen over the lengths of their histories; None ranks all users."""
    _, data, model = build(*overrides)
    model.eval()
    needs = model.batch_needs()
    data.adapt_batches(needs._replace(pad_to_max_len=needs.pad_to_max_len or side == "reference"))
    held_out = data.split.validation
    if num_users is not None:
        by_length = np.argsort(held_out.target_index - data.interactions.offsets[held_out.user])
        rows = np.sort(by_length[np.linspace(0, len(by_length) - 1, num_users).astype(int)])
        held_out = HeldOut(*(array[rows] for array in held_out))
    batches = data.evaluation_batches(held_out, Stream.VALIDATION_NEGATIVES)
    with kernels_of(side):
        rank(model, next(iter(batches)))
        users, started = 0, now()
        for batch in batches:
            rank(model, batch)
            users += len(batch.histories.user)
        return {"per_second": users / (now() - started), "all": len(batches.examples.user)}


def preparation(side: str, *overrides: str) -> dict[str, float]:
    """Measure interactions per second from a file of sequences to training examples in memory, without a cache."""
    with TemporaryDirectory() as cache:
        cfg, data, _ = build(*overrides, f"dataset.cache_dir={cache}/warm")  # imports and first calls are not timed
        cfg.dataset.cache_dir = f"{cache}/cold"
        started = time.perf_counter()
        if side == "ours":
            data = instantiate(cfg.dataset)
            data.train_dataloader()
            interactions = data.statistics.interactions
        else:
            dataset = cfg.dataset
            interactions, _ = prepare(Path(dataset.path), dataset.min_user, dataset.min_item, dataset.max_len)
        return {"per_second": interactions / (time.perf_counter() - started)}


KINDS = {
    "training": training,
    "sampled": sampled,
    "full": full,
    "unseen": unseen,
    "preparation": preparation,
    "loop": loop,
}


def main(kind: str, side: str, *overrides: str) -> None:
    """Print the figures of one measurement and its peak memory as JSON."""
    with kernels_of(side):
        kernels.keep_freed_memory()
    figures = KINDS[kind](side, *overrides)
    used_gpu = torch.cuda.is_initialized()
    peak = torch.cuda.max_memory_allocated() / 2**20 if used_gpu else peak_resident_mib()
    print(json.dumps(figures | {"peak_mib": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
