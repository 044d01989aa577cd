"""What a run does beside training: keep the best weights, take times, show progress."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar

BEST, LAST = "best.ckpt", "last.ckpt"


class BestCheckpoint(ModelCheckpoint):
    """The weights with the best validation score, carried along when a run continues in another folder."""

    def __init__(self, folder: Path, monitor: str):
        super().__init__(
            folder,
            Path(BEST).stem,
            monitor,
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best weights so far, which Lightning would leave behind in their old folder."""
        assert self.dirpath is not None
        old, new = Path(state_dict["best_model_path"]), Path(self.dirpath) / BEST
        if old != new and old.is_file():
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(old, new)
        paths = {"dirpath": self.dirpath, "best_model_path": str(new), "kth_best_model_path": str(new)}
        best_k_models = {str(new): score for score in state_dict["best_k_models"].values()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best_k_models})


class LastCheckpoint(ModelCheckpoint):
    """The state to resume from, after every epoch and, where asked, every so many steps."""

    def __init__(self, folder: Path, every_n_steps: int | None):
        super().__init__(
            folder,
            Path(LAST).stem,
            every_n_train_steps=every_n_steps,
            every_n_epochs=None if every_n_steps else 1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )


class Timing(pl.Callback):
    """Seconds of every epoch's training and validation, and training samples per second."""

    def __init__(self) -> None:
        self.train_seconds: list[float] = []
        self.validation_seconds: list[float] = []
        self.samples = 0
        self.started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.samples = 0
        self.started = now()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.samples += len(batch.user)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            seconds = now() - self.started
            self.train_seconds.append(seconds)
            pl_module.log("train/samples_per_second", self.samples * trainer.world_size / seconds)
        self.started = now()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validation_seconds.append(now() - self.started)

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        return {"train_seconds": self.train_seconds, "validation_seconds": self.validation_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the lists."""
        self.train_seconds = state_dict["train_seconds"]
        self.validation_seconds = state_dict["validation_seconds"]


class Progress(RichProgressBar):
    """Lightning's bar, with the best validation score so far."""

    def __init__(self, monitor: str):
        super().__init__()
        self.monitor = monitor

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The loss, and the best score."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        best = trainer.checkpoint_callback.best_model_score if trainer.checkpoint_callback else None
        return metrics if best is None else {**metrics, f"best {self.monitor}": f"{best:.4f}"}


def now() -> float:
    """Seconds on a clock, once the GPU has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
