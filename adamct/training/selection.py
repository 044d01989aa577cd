"""The choice of the weights that each ranking is tested with, and the end of training.

All weights come from one training. Published metrics among all items have weights that the same metric chose. A metric
whose weights a sampled ranking chose cannot be compared with them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl

from adamct.errors import require
from adamct.evaluation.names import Metric
from adamct.training.module import NextItemModule
from adamct.values import Checked, PositiveInt

BEST = "best.ckpt"
"""The checkpoint that ``monitor`` chooses."""


class Choice(NamedTuple):
    """A checkpoint that one validation metric chooses for some rankings."""

    monitor: str | None
    """The metric, such as ``val/uni100/ndcg@10``; None for a checkpoint that ``ckpt`` names."""
    file: str
    """The checkpoint's file name."""
    rankings: tuple[str, ...]
    """The rankings that are tested with these weights."""


class Chosen(NamedTuple):
    """The chosen weights of a `Choice`."""

    choice: Choice
    epoch: int
    """The epoch of the weights, from 0."""
    val_scores: dict[str, float]
    """All validation metrics of these weights."""


def choices_of(rankings: Sequence[str], metrics: Sequence[str], monitor: str, per_ranking: bool) -> tuple[Choice, ...]:
    """Return the choices of weights for all rankings. The first choice is the monitor's.

    Args:
        rankings: the names of all rankings.
        metrics: the names of all validation metrics.
        monitor: the metric that chooses ``best.ckpt``.
        per_ranking: whether the same metric in each other ranking chooses that ranking's weights, in a file of its own.

    Raises:
        InputError: the monitor is not a validation metric.
    """
    require(monitor in metrics, f"monitor={monitor}: must be one of {', '.join(metrics)}")
    if not per_ranking:
        return (Choice(monitor, BEST, tuple(rankings)),)
    _, own, metric = Metric.parse(monitor)
    others = [ranking for ranking in rankings if ranking != own]
    return (
        Choice(monitor, BEST, (own,)),
        *(Choice(f"val/{ranking}/{metric}", f"best_{ranking}.ckpt", (ranking,)) for ranking in others),
    )


class Patience(Checked, pl.Callback):
    """Early stopping after a number of validations in which no monitored metric has improved.

    Args:
        monitors: the names of the validation metrics; higher is better.
        patience: the number of validations without an improvement.
    """

    def __init__(self, monitors: Sequence[str], patience: PositiveInt):
        self.monitors = tuple(monitors)
        self.patience = patience
        self.best: dict[str, float] = {}
        self.best_epochs: dict[str, int] = {}
        """The epoch of each best score, from 0."""
        self.waited = 0

    @property
    def exhausted(self) -> bool:
        """Whether the patience is used up, so that training stops."""
        return self.waited >= self.patience

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the scores. All processes have the same ones, so they stop together."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.note(cast(NextItemModule, pl_module).scores["val"], trainer.current_epoch)
        if self.exhausted:
            trainer.should_stop = True

    def note(self, scores: Mapping[str, float], epoch: int) -> None:
        """Compare the scores of a validation in an epoch with the best earlier ones."""
        better = {name: scores[name] for name in self.monitors if scores[name] > self.best.get(name, -1.0)}
        self.best |= better
        self.best_epochs |= dict.fromkeys(better, epoch)
        self.waited = 0 if better else self.waited + 1

    def state_dict(self) -> dict[str, Any]:
        """Return the best scores, their epochs and the number of validations since then."""
        return {"best": self.best, "best_epochs": self.best_epochs, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best scores, their epochs and the number of validations since then."""
        self.best, self.best_epochs = dict(state_dict["best"]), dict(state_dict["best_epochs"])
        self.waited = state_dict["waited"]
