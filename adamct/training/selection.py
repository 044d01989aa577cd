"""The choice of the weights that each ranking is tested with, and the end of training.

All come from one training. A metric among all items that was chosen by a ranking among samples cannot stand beside
published ones, whose weights were chosen by the metric itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl

from adamct.errors import require
from adamct.evaluation.names import Metric
from adamct.training.module import NextItemModule
from adamct.values import Checked, PositiveInt

BEST = "best.ckpt"
"""The weights that ``monitor`` chooses."""


class Choice(NamedTuple):
    """Weights that one validation metric chooses for some rankings."""

    monitor: str | None
    """The metric, such as ``val/uni100/ndcg@10``; None for weights that ``ckpt`` names, whatever chose them."""
    file: str
    """The checkpoint's name."""
    rankings: tuple[str, ...]
    """The rankings that are tested with these weights."""


class Chosen(NamedTuple):
    """The weights that a `Choice` has led to."""

    choice: Choice
    epoch: int
    """The epoch of the weights, from 0."""
    val_scores: dict[str, float]
    """All validation metrics of these weights."""


def choices(rankings: Sequence[str], known: Sequence[str], monitor: str, per_ranking: bool) -> tuple[Choice, ...]:
    """Return which metric chooses the weights of each ranking; the first choice is the monitor's own.

    Args:
        rankings: the names of all rankings.
        known: the names of all validation metrics.
        monitor: the metric that chooses ``best.ckpt``.
        per_ranking: whether every other ranking is chosen by the same metric of its own, into a file named after it.

    Raises:
        InputError: there is no such metric.
    """
    require(monitor in known, f"monitor={monitor}: must be one of {', '.join(known)}")
    if not per_ranking:
        return (Choice(monitor, BEST, tuple(rankings)),)
    _, own, metric = Metric.parse(monitor)
    others = [ranking for ranking in rankings if ranking != own]
    return (
        Choice(monitor, BEST, (own,)),
        *(Choice(f"val/{ranking}/{metric}", f"best_{ranking}.ckpt", (ranking,)) for ranking in others),
    )


class Patience(Checked, pl.Callback):
    """Stops training when none of some metrics has improved for a number of validations.

    Args:
        monitors: names of validation metrics; higher is better.
        patience: how many validations without an improvement.
    """

    def __init__(self, monitors: Sequence[str], patience: PositiveInt):
        self.monitors = tuple(monitors)
        self.patience = patience
        self.best: dict[str, float] = {}
        self.waited = 0

    @property
    def exhausted(self) -> bool:
        """Whether training has stopped, or is to stop."""
        return self.waited >= self.patience

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare; all processes have the same scores, so that they stop together."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.note(cast(NextItemModule, pl_module).scores["val"])
        if self.exhausted:
            trainer.should_stop = True

    def note(self, scores: Mapping[str, float]) -> None:
        """Compare a validation's scores with the best before it."""
        better = {name: scores[name] for name in self.monitors if scores[name] > self.best.get(name, -1.0)}
        self.best |= better
        self.waited = 0 if better else self.waited + 1

    def state_dict(self) -> dict[str, Any]:
        """Return the best scores, and how many validations have passed since."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on waiting."""
        self.best, self.waited = dict(state_dict["best"]), state_dict["waited"]
