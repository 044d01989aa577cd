"""One measurement, in a process of its own: ``python -m benchmarks.measures KIND SIDE [OVERRIDE ...]`` prints JSON."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from adamct.batch import Batch, BatchNeeds, EvaluationBatch
from adamct.evaluation.ranking import rank_targets
from adamct.memory import keep_freed_memory
from adamct.models.base import NextItemModel
from adamct.randomness import Stream, seed_libraries
from adamct.training.callbacks import now
from adamct.training.cost import peak_resident_mib
from adamct.training.step import training_loss
from benchmarks import reference
from benchmarks.plain_data import prepare
from datamodules.base import SequenceDataModule
from datamodules.sequences import TrainingBatches
from datamodules.splits import HeldOut

CONF = Path(__file__).parents[1] / "conf"
STEPS = {"ours": 48, "reference": 8}
"""Training steps that are timed, after a warm-up."""
WARM_UP = 2
RANKED = {"ours": None, "reference": 256}
"""Users ranked among samples; None is all of them."""
FULLY_RANKED = 4096
"""Users ranked among all items, on both sides."""


def configured(*overrides: str) -> DictConfig:
    """The config of some overrides."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


def composed(*overrides: str) -> tuple[DictConfig, SequenceDataModule, NextItemModel]:
    """The config of some overrides, its data and its model."""
    cfg = configured(*overrides)
    seed_libraries(cfg.seed)
    data = instantiate(cfg.dataset)
    strategy = SimpleNamespace(root_device=device(cfg))  # all that the data asks of a trainer
    data.trainer = cast(Any, SimpleNamespace(strategy=strategy, global_rank=0, world_size=1))
    model = instantiate(cfg.model, _partial_=True)(data.spec).to(device(cfg))
    return cfg, data, model


def device(cfg: DictConfig) -> torch.device:
    """A GPU where there is one, unless `trainer` says otherwise."""
    return torch.device("cuda" if cfg.trainer.accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def training(side: str, *overrides: str) -> dict[str, float]:
    """Training examples per second: batches, loss, gradients and the optimizer's steps."""
    cfg, data, model = composed(*overrides, *(["optimizer.fused=false"] if side == "reference" else []))
    data.adapt_batches(BatchNeeds(model.full_length, model.all_positions))
    batches = data.train_dataloader()
    if side == "ours":
        epochs, step = our_epochs(batches), training_loss
    else:
        model = reference.plain(model)
        epochs, step = reference.epochs(batches.sequences, batches.examples, batches.batch_size), reference.loss
    optimizer = instantiate(cfg.optimizer)(model.parameters())
    examples, started = 0, 0.0
    for number, batch in enumerate(islice(epochs, WARM_UP + STEPS[side])):
        if number == WARM_UP:
            examples, started = 0, now()
        optimizer.zero_grad()
        step(model, batch).backward()
        optimizer.step()
        examples += len(batch.user)
    return {"per_second": examples / (now() - started), "all": len(batches.examples.user)}


def our_epochs(batches: TrainingBatches) -> Iterator[Batch]:
    """The batches of one epoch after another."""
    for epoch in count():
        batches.set_epoch(epoch)
        yield from batches


@torch.inference_mode()
def sampled(side: str, *overrides: str) -> dict[str, float]:
    """Users ranked per second among sampled items; ours makes the other rankings in the same pass."""
    return ranked(side, our_ranks if side == "ours" else reference.sampled_ranks, RANKED[side], *overrides)


@torch.inference_mode()
def full(side: str, *overrides: str) -> dict[str, float]:
    """Measure users ranked per second among all items; ours makes the other rankings in the same pass."""
    return ranked(side, our_ranks if side == "ours" else reference.full_ranks, FULLY_RANKED, *overrides)


@torch.inference_mode()
def unseen(side: str, *overrides: str) -> dict[str, float]:
    """Measure users ranked per second among unseen items; ours makes the other rankings in the same pass."""
    return ranked(side, our_ranks if side == "ours" else reference.unseen_ranks, FULLY_RANKED, *overrides)


def our_ranks(model: NextItemModel, batch: EvaluationBatch) -> Any:
    """Rank a batch as `adamct.training.module` does."""
    histories, candidates = batch
    queries = model.queries(histories)
    return rank_targets(queries, model.item_table(), model.item_bias(), histories.target, candidates)


def ranked(
    side: str, rank: Callable[[NextItemModel, EvaluationBatch], Any], users: int | None, *overrides: str
) -> dict[str, float]:
    """Rank users, evenly chosen over the lengths of their histories, on the validation split."""
    _, data, model = composed(*overrides)
    model = (model if side == "ours" else reference.plain(model)).eval()
    data.adapt_batches(BatchNeeds(pad_to_max_len=side == "reference"))
    held_out = data.split.validation
    if users is not None:
        by_length = np.argsort(held_out.target_at - data.interactions.offsets[held_out.user])
        some = np.sort(by_length[np.linspace(0, len(by_length) - 1, users).astype(int)])
        held_out = HeldOut(*(array[some] for array in held_out))
    found = data.evaluation_batches(held_out, Stream.VALIDATION_NEGATIVES)
    rank(model, next(iter(found)))
    seen, started = 0, now()
    for batch in found:
        rank(model, batch)
        seen += len(batch.histories.user)
    return {"per_second": seen / (now() - started), "all": len(found.examples.user)}


def preparation(side: str, *overrides: str) -> dict[str, float]:
    """Interactions per second from a file of sequences to training examples in memory, nothing cached."""
    with TemporaryDirectory() as cache:
        cfg, data, _ = composed(*overrides, f"dataset.cache_dir={cache}/warm")  # imports and first calls are not timed
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


if __name__ == "__main__":
    from benchmarks.loop import loop  # which needs this module

    kinds = {
        "training": training,
        "sampled": sampled,
        "full": full,
        "unseen": unseen,
        "preparation": preparation,
        "loop": loop,
    }
    kind, side, *overrides = sys.argv[1:]
    if side == "ours":
        keep_freed_memory()
    measured = kinds[kind](side, *overrides)
    used_gpu = torch.cuda.is_initialized()
    peak = torch.cuda.max_memory_allocated() / 2**20 if used_gpu else peak_resident_mib()
    print(json.dumps(measured | {"peak_mib": peak}))
