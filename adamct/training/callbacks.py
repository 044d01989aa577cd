"""What a run does beside training: keep the best weights and its history, take times, show progress."""

import math
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar

from adamct.training.module import NextItemModule
from adamct.training.selection import Choice

LAST = "last.ckpt"
"""The state to resume from."""


class BestCheckpoint(ModelCheckpoint):
    """The weights with the best score in one validation metric, saved when they are validated.

    The state of training is not saved with them: only ``last.ckpt`` has it.

    Args:
        folder: the folder of the run's checkpoints.
        choice: the metric and the file's name.
    """

    def __init__(self, folder: Path, choice: Choice):
        super().__init__(
            folder,
            Path(choice.file).stem,
            choice.monitor,
            mode="max",
            save_weights_only=True,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        self.file = folder / choice.file

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on in this run's folder, where Lightning would forget the best score with the old one."""
        best = str(self.file)
        paths = {"dirpath": self.dirpath, "best_model_path": best, "kth_best_model_path": best}
        best_k_models = dict(zip([best], state_dict["best_k_models"].values(), strict=False))  # none yet, or one
        super().load_state_dict({**state_dict, **paths, "best_k_models": best_k_models})


class LastCheckpoint(ModelCheckpoint):
    """The state to resume from, after every epoch, every so many steps where asked, and when the run is told to stop.

    Ctrl-C and SIGTERM stop it after the step they come in, a second one at once. Of several processes that train
    together none can stop alone: there both act at once, and the last epoch's state stays.
    """

    def __init__(self, folder: Path, every_n_steps: int | None):
        super().__init__(
            folder,
            Path(LAST).stem,
            every_n_train_steps=every_n_steps,
            every_n_epochs=None if every_n_steps else 1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

        self.stopping = False
        self.handlers: dict[int, Any] = {}
        """What the signals did before."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen for signals, where they can be listened for."""
        super().on_train_start(trainer, pl_module)
        if trainer.world_size == 1 and threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True
        self._stop_listening()
        print("\nstopping after this step; once more stops at once")

    def _stop_listening(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the state when it is due, or when the run is to stop."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.stopping:
            last = Path(cast(str, self.dirpath)) / LAST
            trainer.save_checkpoint(last)
            print(f"stopped at step {trainer.global_step}: {last}")
            print(f"to go on, give a sweep's command again, and a run's with hydra.run.dir={last.parents[1]}")
            raise KeyboardInterrupt

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save anew what was saved at this step: Lightning goes on behind a validation that was due with it."""
        super().on_validation_end(trainer, pl_module)
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if fitting and self._last_global_step_saved == trainer.global_step:
            trainer.save_checkpoint(Path(cast(str, self.dirpath)) / LAST)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop also where no step followed the signal."""
        super().on_train_end(trainer, pl_module)
        self._stop_listening()
        if self.stopping:
            raise KeyboardInterrupt

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the signals as they were."""
        self._stop_listening()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on in this run's folder."""
        super().load_state_dict({**state_dict, "dirpath": self.dirpath})


class Timing(pl.Callback):
    """Seconds of every epoch's training and every validation, training samples per second, a GPU's peak memory anew."""

    def __init__(self) -> None:
        self.train_seconds: list[float] = []
        self.validation_seconds: list[float] = []
        self.samples = 0
        self.started = 0.0
        self.validation_started = 0.0
        self.paused = 0.0
        """Seconds of this epoch that were not training."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget the peak memory of the jobs before this one in its process."""
        if stage == "fit" and trainer.strategy.root_device.type == "cuda":  # asking torch.cuda would begin to use it
            torch.cuda.reset_peak_memory_stats()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.samples, self.paused = 0, 0.0
        self.started = now()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count."""
        self.samples += len(batch.user)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A validation comes at the end of an epoch or within it."""
        self.validation_started = now()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave it out of the epoch."""
        seconds = now() - self.validation_started
        self.paused += seconds
        if not trainer.sanity_checking:
            self.validation_seconds.append(seconds)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        seconds = now() - self.started - self.paused
        self.train_seconds.append(seconds)
        pl_module.log("train/samples_per_second", self.samples * trainer.world_size / seconds)

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        return {"train_seconds": self.train_seconds, "validation_seconds": self.validation_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the lists."""
        self.train_seconds = state_dict["train_seconds"]
        self.validation_seconds = state_dict["validation_seconds"]


class History(pl.Callback):
    """Every epoch's training loss, the scores of its last validation, and what `MixtureMonitor` logged of the mixtures.

    An epoch without a validation has None in their place.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[float | None]] = {}
        self.validated: dict[str, float] = {}
        """What this epoch's last validation found."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note what it found."""
        if trainer.sanity_checking:
            return
        mixtures = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("mixture/")}
        self.validated = {**cast(NextItemModule, pl_module).scores["val"], **mixtures}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's."""
        loss = cast(NextItemModule, pl_module).mean_loss().item()
        found, self.validated = {"train/loss": loss, **self.validated}, {}
        epochs = len(self.values.get("train/loss", []))
        for name in {**self.values, **found}:
            self.values.setdefault(name, [None] * epochs).append(found.get(name))

    def state_dict(self) -> dict[str, Any]:
        """The values so far."""
        return {"values": self.values, "validated": self.validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the lists."""
        self.values, self.validated = state_dict["values"], state_dict["validated"]


class Progress(RichProgressBar):
    """Lightning's bar with no more than the loss and the best validation score so far, drawn four times a second.

    Lightning asks for them at every step, but looking at the loss makes a GPU wait, so they are read as often as drawn.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=4)
        self.shown: dict[str, str] = {}
        self.read_at = -math.inf

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The loss of a step within the last quarter of a second, and the best score."""
        if time.monotonic() - self.read_at >= 1 / self.refresh_rate:
            callbacks = trainer.checkpoint_callbacks
            best = next((c.best_model_score for c in callbacks if isinstance(c, BestCheckpoint)), None)
            found = {"loss": trainer.callback_metrics.get("train/loss_step"), "best": best}
            self.shown = {name: f"{value:.4f}" for name, value in found.items() if value is not None}
            self.read_at = time.monotonic()
        return self.shown


def now() -> float:
    """Seconds on a clock, once the GPU has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
