"""The checkpoints of a run: the best weights of each choice, and the state to resume from."""

import logging
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint

from adamct.keys import in_shell, override_with
from adamct.training.selection import Choice

log = logging.getLogger(__name__)

LAST = "last.ckpt"
"""The state to resume from."""


class BestCheckpoint(ModelCheckpoint):
    """The weights with the best score in one validation metric, without the state of training.

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
        self.choice = choice
        self.file = folder / choice.file

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, but keep this run's folder. For another folder Lightning would drop the best score."""
        best = str(self.file)
        paths = {"dirpath": self.dirpath, "best_model_path": best, "kth_best_model_path": best}
        best_k_models = dict(zip([best], state_dict["best_k_models"].values(), strict=False))  # none yet, or one
        super().load_state_dict({**state_dict, **paths, "best_k_models": best_k_models})


class LastCheckpoint(ModelCheckpoint):
    """The state to resume from, saved after every epoch or every few steps.

    Args:
        folder: the folder of the run's checkpoints.
        every_n_steps: the steps between two saves; None saves after every epoch.
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

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save again after a validation at a step that was saved, because a resumed run skips that validation."""
        super().on_validation_end(trainer, pl_module)
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if fitting and self._last_global_step_saved == trainer.global_step:
            trainer.save_checkpoint(Path(cast(str, self.dirpath)) / LAST)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, but keep this run's folder."""
        super().load_state_dict({**state_dict, "dirpath": self.dirpath})


class StopOnSignal(Checkpoint):
    """Saves the state and stops training after the step in which Ctrl-C or SIGTERM arrives. A second one stops at once.

    Processes that train together cannot stop alone. There a signal acts at once, and the last saved state remains.

    Args:
        folder: the folder of the run's checkpoints.
    """

    def __init__(self, folder: Path):
        self.last = folder / LAST
        self.stopping = False
        self.saved = False
        self.handlers: dict[int, Any] = {}
        """The handlers of the signals before training."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle the signals where one process trains, in its main thread."""
        if trainer.world_size == 1 and threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True
        self._restore_handlers()
        print("\nstopping after this step; once more stops at once")

    def _restore_handlers(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the state and end the run if a signal has arrived."""
        if self.stopping:
            trainer.save_checkpoint(self.last)
            self.saved = True
            raise KeyboardInterrupt

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the run also if no step followed the signal."""
        self._restore_handlers()
        if self.stopping:
            raise KeyboardInterrupt

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the handlers of the signals, and say where the state is. The progress bar has ended by then."""
        self._restore_handlers()
        if self.saved:
            log.info("stopped at step %d: %s", trainer.global_step, self.last)
            folder = in_shell(override_with("hydra.run.dir", str(self.last.parents[1])))
            log.info("to go on, give a sweep's command again, and a run's with %s", folder)
