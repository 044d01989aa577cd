"""The progress of training: a line for each epoch, and a progress bar in a terminal."""

import logging
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from adamct.evaluation.names import Metric
from adamct.runs.console import FILE_LOG, duration
from adamct.training.callbacks import History, Timing
from adamct.training.module import NextItemModule
from adamct.training.selection import Patience
from adamct.training.stages import callback_of

log = logging.getLogger(__name__)


class EpochLines(pl.Callback):
    """A line for each epoch: its loss, the validation of each ranking, the best so far, and the time left.

    Args:
        monitor: the metric of the validation to show; the other rankings have the same one.
        has_bar: whether the console has a progress bar. The lines are then written to the log file alone.
    """

    def __init__(self, monitor: str, has_bar: bool):
        self.monitor = Metric.parse(monitor)
        self.lines = FILE_LOG if has_bar else log

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line. The callbacks that it reads come before this one."""
        epoch, limit = trainer.current_epoch + 1, trainer.max_epochs
        values = {name: series[-1] for name, series in callback_of(trainer, History).values.items()}
        patience = callback_of(trainer, Patience)
        monitors = [str(self.monitor._replace(ranking=name)) for name in cast(NextItemModule, pl_module).rankings]
        scores = scores_text(monitors, values, patience)
        timing = callback_of(trainer, Timing)
        at_most, unimproved = seconds_left(epoch, limit, patience.patience - patience.waited, timing)
        left = "" if trainer.should_stop or epoch == limit else left_text(at_most, unimproved)
        parts = [f"loss {values['train/loss']:.4f}", *([f"{self.monitor.name} {scores}"] if scores else []), left]
        self.lines.info("epoch %s: %s", epoch_text(epoch, limit), "; ".join(part for part in parts if part))


def scores_text(monitors: Iterable[str], values: Mapping[str, float | None], patience: Patience) -> str:
    """Return the scores of an epoch by ranking. One that is not the best so far is followed by the best and its epoch.

    Args:
        monitors: the metrics to show.
        values: the epoch's values by name; None or missing without a validation.
        patience: the best scores of the metrics that choose weights.
    """
    texts = []
    for monitor in monitors:
        value, best = values.get(monitor), patience.best.get(monitor)
        if value is None and best is None:
            continue
        shown = "" if value is None else f" {value:.4f}"
        if best is not None:
            is_best = value is not None and value >= best
            shown += " (best)" if is_best else f" (best {best:.4f} in epoch {patience.best_epochs[monitor] + 1})"
        texts.append(f"{Metric.parse(monitor).ranking}{shown}")
    return ", ".join(texts)


def seconds_left(epoch: int, limit: int | None, waits: int, timing: Timing) -> tuple[float | None, float | None]:
    """Estimate the seconds that training still takes, from its mean seconds so far.

    Args:
        epoch: the number of epochs that have ended.
        limit: the most epochs; None or -1 for no limit.
        waits: the validations without an improvement after which training stops.
        timing: the seconds of the epochs and validations so far.

    Returns:
        The seconds to the last epoch, None without a limit, and those if no later validation improves a score, None
        before the first validation.
    """
    seconds = sum(timing.train_seconds) + sum(timing.validation_seconds)
    at_most = None if limit in (None, -1) else (limit - epoch) * seconds / len(timing.train_seconds)
    validations = len(timing.validation_seconds)
    return at_most, waits * seconds / validations if validations else None


def left_text(at_most: float | None, unimproved: float | None) -> str:
    """Return the estimates of `seconds_left` in words. The second is left out where the first is not longer."""
    texts = [] if at_most is None else [f"at most {duration(at_most)} left"]
    if unimproved is not None and (at_most is None or unimproved < at_most):
        texts.append(f"{duration(unimproved)}{'' if texts else ' left'} if no score improves")
    return ", ".join(texts)


def epoch_text(epoch: int, limit: int | None) -> str:
    """Return the number of an epoch, from 1, and the most epochs if they are limited."""
    return str(epoch) if limit in (None, -1) else f"{epoch}/{limit}"


class Progress(RichProgressBar):
    """A progress bar on one line, with the loss and the monitor's best score so far, drawn four times a second.

    Lightning asks for the values at every step. They are read only when drawn, because a read makes a GPU wait.

    Args:
        monitor: the validation metric whose best score is shown.
    """

    def __init__(self, monitor: str):
        super().__init__(refresh_rate=4)
        self.monitor = monitor
        self.shown = ""
        self.read_at = -math.inf

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the values again, because the validation may have a new best score."""
        self.read_at = -math.inf
        super().on_validation_end(trainer, pl_module)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Read the loss of a recent step and the best score. Return nothing: `Scores` draws them."""
        if time.monotonic() - self.read_at >= 1 / self.refresh_rate:
            loss, best = trainer.callback_metrics.get("train/loss_step"), None
            if trainer.state.fn == "fit":
                best = callback_of(trainer, Patience).best.get(self.monitor)
            values = {"loss": loss, f"best {Metric.parse(self.monitor).heading}": best}
            self.shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items() if value is not None)
            self.read_at = time.monotonic()
        return {}

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """Return the columns. Only the bar gives way where the line is narrow."""
        return [
            TextColumn("{task.description}"),
            BarColumn(bar_width=None, complete_style="magenta", finished_style="magenta"),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True)),
            Scores(self),
        ]

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Epoch {epoch_text(current_epoch + 1, self.trainer.max_epochs)}"


class Scores(ProgressColumn):
    """The values of a progress bar, beside the bar of the training epoch.

    Args:
        bar: the progress bar.
    """

    def __init__(self, bar: Progress):
        super().__init__(table_column=Column(no_wrap=True, overflow="ellipsis"))
        self.bar = bar

    def render(self, task: Task) -> Text:
        """Return the values."""
        return Text(self.bar.shown if task.id == self.bar.train_progress_bar_id else "", style="italic")
