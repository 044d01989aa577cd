"""The stages of a run: fit, and the test of the weights that each ranking's validation chose."""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytorch_lightning as pl

from adamct.checkpoint import read_checkpoint
from adamct.errors import InputError, require
from adamct.identity import WEIGHTS
from adamct.search.pruning import TrialReport
from adamct.training.callbacks import History, Timing
from adamct.training.checkpoints import LAST, BestCheckpoint
from adamct.training.module import NextItemModule
from adamct.training.selection import Choice, Chosen, Patience, choices_of

log = logging.getLogger(__name__)

AnyCallback = TypeVar("AnyCallback", bound=pl.Callback)


class Plan(NamedTuple):
    """The stages of a run and the checkpoints that they start from."""

    stages: Sequence[str]
    """Some of fit, test and predict. The caller predicts; the module then has the monitor's weights."""
    folder: Path
    """The run's folder of checkpoints."""
    choices: tuple[Choice, ...]
    """The weights to test each ranking with, the monitor's first."""
    ckpt: str | None
    """Without fit: the weights of all rankings, or a folder of checkpoints with those of each."""
    resume: str | None
    """The checkpoint to continue from; ``auto`` for the folder's own if it has one; None to train from scratch."""

    @classmethod
    def of(cls, config: dict[str, Any], module: NextItemModule, folder: Path) -> "Plan":
        """Return the plan of a config.

        Args:
            config: the run's resolved config.
            module: the module of the run.
            folder: the run's folder of checkpoints.

        Raises:
            InputError: the monitor is not a validation metric.
        """
        per_ranking = config["select_per_ranking"] and module.learns
        chosen_by = choices_of(module.rankings, module.metric_names("val"), config["monitor"], per_ranking)
        return cls(config["stages"], folder, chosen_by, config["ckpt"], config["resume"])


class Outcome(NamedTuple):
    """The result of a run's stages."""

    chosen: tuple[Chosen, ...]
    """The weights of each choice, the monitor's first."""
    ended_by: str | None
    """The end of training: ``patience``, ``limit`` (of epochs, steps or time) or ``nothing to train``. None: no fit."""


def run_stages(
    trainer: pl.Trainer,
    module: NextItemModule,
    data: pl.LightningDataModule,
    plan: Plan,
    begin: Callable[[str], None],
) -> Outcome:
    """Run the stages in order, the test once for each choice of weights.

    Args:
        trainer: the trainer with the run's callbacks.
        module: the model to train or test.
        data: its data.
        plan: the stages.
        begin: called once the stages fit together, before they change anything, with where they start from in words.

    Raises:
        InputError: the stages or checkpoints do not fit together.
    """
    ended_by = None
    if "fit" in plan.stages:
        ended_by = fit(trainer, module, data, plan, begin)
    else:
        begin(f"with the weights of {plan.ckpt}")
    source, choices = weights_of(plan, module.rankings)
    chosen = []
    for choice in reversed(choices):  # the monitor's last, so that the module keeps its weights
        checkpoint = read_chosen(source, choice, module, "fit" in plan.stages)
        chosen.insert(0, Chosen(choice, checkpoint["epoch"], checkpoint["val_scores"]))
        if plan.stages != ["fit"]:
            module.load_state_dict(checkpoint["state_dict"])
        if "test" in plan.stages and not pruned(trainer):
            log.info("test of %s with %s of epoch %d", ", ".join(choice.rankings), choice.file, checkpoint["epoch"] + 1)
            module.tested = choice.rankings
            trainer.test(module, data, verbose=False)
    return Outcome(tuple(chosen), ended_by)


def weights_of(plan: Plan, rankings: tuple[str, ...]) -> tuple[Path, tuple[Choice, ...]]:
    """Return the folder of the weights that a run uses, and the choices among them.

    Raises:
        InputError: the run neither trains nor names a checkpoint.
    """
    if "fit" in plan.stages:
        return plan.folder, plan.choices
    if plan.ckpt is None:
        raise InputError(f"stages={list(plan.stages)} needs the weights to use: ckpt=PATH")
    source, choices = Path(plan.ckpt), plan.choices
    if not source.is_dir():  # one file for all rankings
        source, choices = source.parent, (Choice(None, source.name, rankings),)
    return source, choices if "test" in plan.stages else choices[:1]


def read_chosen(folder: Path, choice: Choice, module: NextItemModule, trained_here: bool) -> dict[str, Any]:
    """Read the checkpoint of a choice.

    Args:
        folder: the folder of checkpoints.
        choice: the choice of the weights.
        module: the module that is to have them.
        trained_here: whether this run trained them, so that its whole identity must agree.

    Raises:
        InputError: it is missing, or was trained, chosen or validated in another way than this run.
    """
    names = WEIGHTS
    if choice.monitor is not None and module.learns:  # the file's name says which metric chose the weights
        names = (*WEIGHTS, "monitor", "select_per_ranking")
    path, monitor = folder / choice.file, module.identity["monitor"]
    within, key = (None, "hydra.run.dir") if trained_here else (names, "ckpt")
    checkpoint = read_checkpoint(path, module.identity, within, key)
    require(
        monitor in checkpoint["val_scores"],
        f"{path}: was not validated by monitor={monitor}; give the overrides it was trained with",
    )
    return checkpoint


def pruned(trainer: pl.Trainer) -> bool:
    """Return whether a search stopped the run early."""
    return any(isinstance(callback, TrialReport) and callback.pruned for callback in callbacks_of(trainer))


def callbacks_of(trainer: pl.Trainer) -> list[pl.Callback]:
    """Return the trainer's callbacks."""
    return trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]  # Lightning sets it in a connector


def callback_of(trainer: pl.Trainer, kind: type[AnyCallback]) -> AnyCallback:
    """Return the trainer's first callback of a class."""
    return next(callback for callback in callbacks_of(trainer) if isinstance(callback, kind))


def fit(
    trainer: pl.Trainer,
    module: NextItemModule,
    data: pl.LightningDataModule,
    plan: Plan,
    begin: Callable[[str], None],
) -> str:
    """Train until patience ends or a limit is reached, from scratch or from a checkpoint.

    Returns:
        The reason why training ended; see `Outcome`.
    """
    if not module.learns:
        begin("nothing to train")
        trainer.validate(module, data, verbose=False)
        require_validated(bool(module.scores.get("val")))
        trainer.save_checkpoint(plan.folder / plan.choices[0].file)
        return "nothing to train"
    patience = callback_of(trainer, Patience)
    start = Path(plan.resume) if plan.resume not in (None, "auto") else plan.folder / LAST
    if plan.resume is None or (plan.resume == "auto" and not start.exists()):
        begin("from the beginning")
        trainer.fit(module, data)
    else:
        epochs = restore(start, trainer, module, plan)
        if patience.exhausted:  # the run had stopped before
            return "patience"
        begin(f"from {start}, in epoch {epochs + 1}")
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
    require_validated(has_best(trainer))
    return "patience" if patience.exhausted else "limit"


def restore(start: Path, trainer: pl.Trainer, module: NextItemModule, plan: Plan) -> int:
    """Restore the callbacks that decide whether a run has ended, and copy its best weights to the run's folder.

    Lightning restores the rest when training starts.

    Returns:
        The number of epochs that have ended.

    Raises:
        InputError: the checkpoint is of another run, holds weights only, or is past ``trainer.max_epochs``.
    """
    key = "resume" if plan.resume not in (None, "auto") else "hydra.run.dir"
    checkpoint, longest = read_checkpoint(start, module.identity, key=key), trainer.max_epochs
    require(
        longest in (None, -1) or checkpoint["epoch"] < longest,
        f"{start}: has trained {checkpoint['epoch'] + 1} epochs, more than trainer.max_epochs={longest}: raise it, "
        "or start again with resume=null",
    )
    require("callbacks" in checkpoint, f"{start}: holds weights only; give resume={start.with_name(LAST)}")
    if start.parent != plan.folder and trainer.is_global_zero:
        copy_best(start.parent, plan.folder, plan.choices)
    for callback in callbacks_of(trainer):
        if isinstance(callback, Patience | History | Timing):
            callback.load_state_dict(checkpoint["callbacks"][callback.state_key])
    return len(callback_of(trainer, Timing).train_seconds)


def copy_best(source: Path, folder: Path, choices: Sequence[Choice]) -> None:
    """Copy the best weights so far from the folder that a run is resumed from. They may stay the best."""
    folder.mkdir(parents=True, exist_ok=True)
    for choice in choices:
        if (source / choice.file).exists():
            shutil.copyfile(source / choice.file, folder / choice.file)


def require_validated(validated: bool) -> None:
    """Refuse training that ended before any validation could choose weights.

    Raises:
        InputError: with the keys that can cause it.
    """
    require(
        validated,
        "training ended before any validation, which chooses the weights that are kept: see trainer.max_epochs, "
        "max_steps, max_time, limit_val_batches, check_val_every_n_epoch, val_check_interval and fast_dev_run",
    )


def has_best(trainer: pl.Trainer) -> bool:
    """Return whether a validation has chosen weights, in this run or before it was interrupted."""
    return any(isinstance(c, BestCheckpoint) and c.best_model_score is not None for c in trainer.checkpoint_callbacks)
