"""A run that is a trial of a search: it reports its validation score every epoch and stops when it is given up."""

from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig


class TrialReport(pl.Callback):
    """Tells an Optuna study each epoch's score, through its storage, so also from another process or machine.

    Args:
        storage: where the study is kept; see `adamct.search.storage.open_storage`.
        study_name: its name there.
        number: the trial's number in it.
        pruner: Optuna's, which decides whether the trial is worth going on with.
        monitor: the validation score.
    """

    def __init__(self, storage: str, study_name: str, number: int, pruner: Any, monitor: str):
        from adamct.search.storage import trial_of  # Optuna is an extra

        self.trial = trial_of(storage, study_name, number, pruner)
        self.monitor = monitor
        self.pruned = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report; all processes of a run stop together."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        give_up = False
        if trainer.is_global_zero:
            self.trial.report(trainer.callback_metrics[self.monitor].item(), trainer.current_epoch)
            give_up = self.trial.should_prune()
        if trainer.strategy.broadcast(give_up):
            self.pruned = trainer.should_stop = True
            if trainer.is_global_zero:
                self.trial.set_user_attr("pruned", True)


def trial_reports(sweeper: DictConfig, monitor: str) -> list[pl.Callback]:
    """Return the callback that reports to a search, if the job is a trial of a search that other processes can read.

    Args:
        sweeper: the config of the sweeper.
        monitor: the validation score to report.
    """
    if sweeper.get("trial") is None or sweeper.storage is None:
        return []
    return [TrialReport(sweeper.storage, sweeper.study_name, sweeper.trial, instantiate(sweeper.pruner), monitor)]
