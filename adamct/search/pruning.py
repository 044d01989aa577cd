"""The callback of a run that is a trial of a search: reports to the study, and pruning."""

import warnings
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig


class TrialReport(pl.Callback):
    """A report of each epoch's score to an Optuna study, and the end of training if the pruner prunes the trial.

    It reports through the study's storage, which also works from another process or machine.

    Args:
        storage: the study's storage; see `adamct.search.storage.open_storage`.
        study_name: the study's name in the storage.
        number: the trial's number in the study.
        pruner: one of Optuna's pruners; None prunes no trial.
        monitor: the name of the validation score.
    """

    def __init__(self, storage: str, study_name: str, number: int, pruner: Any, monitor: str):
        from adamct.search.storage import load_trial  # Optuna is an extra

        self.trial = load_trial(storage, study_name, number, pruner)
        self.monitor = monitor
        self.pruned = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the score. If the trial is pruned, stop all processes of the run."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        should_prune = False
        if trainer.is_global_zero:
            with warnings.catch_warnings():  # a killed run trains its last epoch again, whose score the study has
                warnings.filterwarnings("ignore", "The reported value is ignored")
                self.trial.report(trainer.callback_metrics[self.monitor].item(), trainer.current_epoch)
            should_prune = self.trial.should_prune()
        if trainer.strategy.broadcast(should_prune):
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
