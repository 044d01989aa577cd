"""The callbacks that measure a run: its times and its history."""

import time
from typing import Any, cast

import pytorch_lightning as pl
import torch

from adamct.training.module import NextItemModule


class Timing(pl.Callback):
    """The seconds of each epoch's training and of each validation, and the training samples per second."""

    def __init__(self) -> None:
        self.train_seconds: list[float] = []
        self.validation_seconds: list[float] = []
        self.samples = 0
        self.started = 0.0
        self.validation_started = 0.0
        self.paused = 0.0
        """The seconds of this epoch that were not training."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Reset the GPU's peak memory, which earlier jobs of the process may have raised."""
        if stage == "fit" and trainer.strategy.root_device.type == "cuda":  # asking torch.cuda would initialise it
            torch.cuda.reset_peak_memory_stats()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the time of an epoch that a checkpoint continues: Lightning does not start that epoch again."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's time."""
        self.samples, self.paused = 0, 0.0
        self.started = now()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the samples."""
        self.samples += len(batch.user)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the validation's time. A validation comes at the end of an epoch or within it."""
        self.validation_started = now()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the validation's seconds, and exclude them from the epoch's."""
        seconds = now() - self.validation_started
        self.paused += seconds
        if not trainer.sanity_checking:
            self.validation_seconds.append(seconds)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's seconds, and log the samples per second."""
        seconds = now() - self.started - self.paused
        self.train_seconds.append(seconds)
        pl_module.log("train/samples_per_second", self.samples * trainer.world_size / seconds)

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds so far."""
        return {"train_seconds": self.train_seconds, "validation_seconds": self.validation_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seconds."""
        self.train_seconds = state_dict["train_seconds"]
        self.validation_seconds = state_dict["validation_seconds"]


class History(pl.Callback):
    """The training loss of each epoch, the scores of its last validation, and its mixture coefficients.

    The scores of an epoch without a validation are None. `MixtureMonitor` logs the coefficients.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[float | None]] = {}
        self.validated: dict[str, float] = {}
        """The scores and coefficients of this epoch's last validation."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the scores and the mixture coefficients."""
        if trainer.sanity_checking:
            return
        mixtures = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("mixture/")}
        self.validated = {**cast(NextItemModule, pl_module).scores["val"], **mixtures}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's values."""
        module = cast(NextItemModule, pl_module)
        values, self.validated = {"train/loss": module.epoch_loss.mean().item(), **self.validated}, {}
        epochs = len(self.values.get("train/loss", []))
        for name in {**self.values, **values}:
            self.values.setdefault(name, [None] * epochs).append(values.get(name))

    def state_dict(self) -> dict[str, Any]:
        """Return the values so far."""
        return {"values": self.values, "validated": self.validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the values."""
        self.values, self.validated = state_dict["values"], state_dict["validated"]


def now() -> float:
    """Return the seconds on a clock, after the GPU has finished its work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
