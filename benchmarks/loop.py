"""The cost of Lightning's loop, the callbacks and the logger per step and epoch, with a model that costs nothing."""

import time
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from adamct.batch import Batch, DataSpec
from adamct.models.base import VectorModel
from adamct.runs.config import resolved
from adamct.runs.folder import CHECKPOINTS
from adamct.training.build import build_module
from adamct.training.module import NextItemModule
from adamct.training.stages import Plan
from adamct.training.step import training_loss
from adamct.training.trainer import build_trainer, fit_callbacks
from benchmarks.setup import compose_config
from datamodules.base import SequenceDataModule

STEPS = 300
"""Steps of the longer epochs; the shorter ones have one step."""
EPOCHS = {1: 10, STEPS: 3}
"""The number of timed epochs by their steps."""
SMALL = ("dataset.batch_size=16", "trainer.limit_val_batches=1", "hydra.output_subdir=null")


class Empty(VectorModel):
    """A model of one parameter."""

    def __init__(self, spec: DataSpec):
        super().__init__()
        self.num_items = spec.num_items
        self.weight = nn.Parameter(torch.zeros(1, 1))

    def queries(self, batch: Batch) -> Tensor:
        """Return the same query for every user."""
        return self.weight.expand(len(batch.user), 1)

    def item_table(self) -> Tensor:
        """Return the same vector for every item. In training there is only one item."""
        return self.weight.expand(2 if self.training else self.num_items + 1, 1)

    def training_pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return one pair, whatever the batch."""
        return self.weight, torch.ones_like(batch.target[:1])


class Clock(pl.Callback):
    """A callback that notes when each epoch begins."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def loop(side: str, *overrides: str) -> dict[str, float]:
    """Measure the seconds of a step and of an epoch without its steps, under Lightning or in a plain loop of ours."""
    epochs = lightning_epochs if side == "ours" else plain_epochs
    seconds = {}
    for steps, count in EPOCHS.items():
        with TemporaryDirectory() as folder:
            limits = (f"trainer.limit_train_batches={steps}", f"trainer.max_epochs={count + 2}")
            times = epochs(*parts(*SMALL, *overrides, *limits, f"output_dir={folder}"), steps, count + 2)
        seconds[steps] = median(after - before for before, after in pairwise(times[1:]))
    step = (seconds[STEPS] - seconds[1]) / (STEPS - 1)
    return {"per_second": 1 / step, "step_ms": 1e3 * step, "epoch_ms": 1e3 * (seconds[1] - step)}


def parts(*overrides: str) -> tuple[DictConfig, SequenceDataModule, NextItemModule]:
    """Build the config, its data and the module of `run.py` around the empty model."""
    cfg = compose_config(*overrides)
    cfg.model = {"_target_": f"{__name__}.{Empty.__name__}"}
    data = instantiate(cfg.dataset)
    return cfg, data, build_module(cfg, data)


def lightning_epochs(
    cfg: DictConfig, data: SequenceDataModule, module: NextItemModule, steps: int, epochs: int
) -> list[float]:
    """Return when each epoch began under the trainer of `run.py`."""
    clock = Clock()
    folder = Path(cfg.output_dir)
    plan = Plan.of(resolved(cfg), module, folder / CHECKPOINTS)
    callbacks = fit_callbacks(plan.folder, data.spec.num_users, plan.choices, epochs, cfg.save_every_n_steps)
    make_trainer = instantiate(cfg.trainer, _partial_=True, callbacks=[])
    trainer = build_trainer(make_trainer, [*instantiate(cfg.logger).values()], callbacks, cfg.monitor, folder)
    trainer.callbacks.insert(0, clock)  # pyright: ignore[reportAttributeAccessIssue]
    trainer.fit(module, data)
    return clock.times


def plain_epochs(
    cfg: DictConfig, data: SequenceDataModule, module: NextItemModule, steps: int, epochs: int
) -> list[float]:
    """Return when each epoch began in a loop that trains and ranks in the same way, and stores nothing."""
    model, optimizer = module.model, module.configure_optimizers()
    assert isinstance(model, VectorModel)
    batches, held_out = data.train_dataloader(), data.val_dataloader()
    times = []
    for epoch in range(epochs):
        times.append(time.perf_counter())
        batches.set_epoch(epoch)
        for batch in islice(batches, steps):
            optimizer.zero_grad()
            training_loss(model, batch).backward()
            optimizer.step()
        module.eval()
        with torch.inference_mode():
            module.on_validation_epoch_start()
            for number, batch in enumerate(islice(held_out, 1)):
                module.validation_step(batch, number)
            module.on_validation_epoch_end()
        module.train()
    return times
