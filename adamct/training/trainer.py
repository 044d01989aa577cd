"""The trainer of a run and its stages, fit and test."""

import logging
import shutil
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import PassThroughProfiler

from adamct import kernels
from adamct.analysis.mixture_coefficients import MixtureMonitor
from adamct.checkpoint import AtomicCheckpointIO, read_checkpoint
from adamct.errors import InputError, blame, require
from adamct.identity import WEIGHTS
from adamct.randomness import seed_libraries
from adamct.runs.processes import require_tasks, slurm_tasks
from adamct.search.pruning import TrialReport
from adamct.training.callbacks import LAST, BestCheckpoint, History, LastCheckpoint, Progress, Timing
from adamct.training.module import NextItemModule
from adamct.training.precision import require_kept, require_trains
from adamct.training.selection import Choice, Chosen, Patience
from adamct.values import MatmulPrecision

NOTHING = nullcontext()


class NoProfiler(PassThroughProfiler):
    """Lightning enters its profiler over a hundred times a step; where none is asked for, nothing is made for it."""

    def profile(self, action_name: str) -> nullcontext:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Do nothing."""
        return NOTHING


def set_up_torch(seed: int, matmul_precision: MatmulPrecision) -> None:
    """Seed everything, and say how this process keeps memory and how precisely it multiplies float32 matrices."""
    kernels.keep_freed_memory()
    seed_libraries(seed)
    torch.set_float32_matmul_precision(matmul_precision)


def build_trainer(
    make_trainer: partial[pl.Trainer],
    logger: Logger | None,
    folder: Path,
    num_users: int,
    choices: Sequence[Choice],
    patience: int,
    save_every_n_steps: int | None,
    stages: Sequence[str],
    trial: TrialReport | None,
    quiet: bool,
) -> pl.Trainer:
    """A trainer with what every run does beside its stages, and the callbacks it was configured with.

    Args:
        make_trainer: the configured trainer.
        logger: the run's logger, if any.
        folder: where checkpoints go.
        num_users: how many users are validated.
        choices: which validation scores choose weights; the run goes on as long as one of them improves.
        patience: validations without improvement of any before the run stops.
        save_every_n_steps: also save the state to resume from within an epoch.
        stages: what the trainer is for.
        trial: reports to the search that the run is a trial of, if it is one.
        quiet: no progress bar, whatever is configured.
    """
    hush()
    progress = make_trainer.keywords.get("enable_progress_bar", True) and not quiet
    callbacks: list[pl.Callback] = [*(make_trainer.keywords.get("callbacks") or []), Timing()]
    if "fit" in stages:
        callbacks += fit_callbacks(folder, num_users, choices, patience, save_every_n_steps)
        callbacks += [LearningRateMonitor("epoch")] if logger is not None else []
        callbacks += [trial] if trial is not None else []
    if progress:
        callbacks.append(Progress())
    plugins = [*(make_trainer.keywords.get("plugins") or []), AtomicCheckpointIO()]
    if slurm_tasks() == 1:  # where Lightning would wait for Slurm to start the processes of further devices
        plugins.append(LightningEnvironment())
    require_trains(precision := make_trainer.keywords.get("precision"))
    with blame("trainer"):
        trainer = make_trainer(
            logger=logger or False,
            callbacks=callbacks,
            enable_progress_bar=progress,
            enable_checkpointing="fit" in stages,
            profiler=make_trainer.keywords.get("profiler") or NoProfiler(),
            plugins=plugins,
            default_root_dir=folder.parent,
        )
    require_kept(precision, trainer.precision, trainer.strategy.root_device)
    require_tasks(trainer.num_devices, trainer.num_nodes)
    return trainer


def fit_callbacks(
    folder: Path, num_users: int, choices: Sequence[Choice], patience: int, save_every_n_steps: int | None
) -> list[pl.Callback]:
    """Return what training does beside its steps; see `build_trainer`."""
    callbacks: list[pl.Callback] = [
        MixtureMonitor(num_users),
        History(),
        Patience([choice.monitor for choice in choices if choice.monitor is not None], patience),
        *(BestCheckpoint(folder, choice) for choice in choices),
        LastCheckpoint(folder, save_every_n_steps),
    ]
    return callbacks


def hush() -> None:
    """Silence what Lightning says at length and nobody asked, and warnings that do not apply here."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("pytorch_lightning.profilers").setLevel(logging.INFO)  # whose reports are asked for
    for beginning in (
        "The number of training batches .* is smaller than the logging interval",  # epochs are logged
        "It is recommended to use .*sync_dist=True",  # processes are joined by their metric
        "Checkpoint directory .* exists and is not empty",  # as it should when resumed
        ".*LeafSpec.* is deprecated",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", beginning)


class Outcome(NamedTuple):
    """The result of a run's stages."""

    chosen: tuple[Chosen, ...]
    """The weights of each choice, the monitor's first."""
    ended_by: str | None
    """Why training ended: ``patience``, ``limit`` (of epochs, steps or time) or ``nothing to train``; None without."""


def run_stages(
    trainer: pl.Trainer,
    module: NextItemModule,
    data: pl.LightningDataModule,
    folder: Path,
    choices: Sequence[Choice],
    stages: Sequence[str],
    ckpt: str | None,
    resume: str | None,
    begin: Callable[[], None],
) -> Outcome:
    """Run the stages in order, the test once for each choice of weights.

    Args:
        trainer: with the callbacks above.
        module: the model to train or test.
        data: its data.
        folder: the run's folder of checkpoints.
        choices: the weights to test each ranking with.
        stages: some of fit, test and predict. The caller predicts; the module then has the monitor's weights.
        ckpt: where nothing was trained before, the weights of all rankings, or a folder of checkpoints with those of
            each.
        resume: a checkpoint to continue training from; ``auto`` takes the folder's own, if there is one; None trains
            from scratch.
        begin: called when the stages have been found to fit together, before they change anything.

    Raises:
        InputError: stages or checkpoints that do not fit together.
    """
    ended_by, source = None, None if ckpt is None else Path(ckpt)
    if "fit" not in stages:
        begin()
    else:
        ended_by, source = fit(trainer, module, data, folder, choices, resume, begin), folder
    if source is None:
        raise InputError(f"stages={list(stages)} needs the weights to use: ckpt=PATH")
    if not source.is_dir():  # one file for all rankings
        source, choices = source.parent, [Choice(None, source.name, module.rankings)]
    if "fit" not in stages and "test" not in stages:
        choices = choices[:1]
    chosen = []
    for choice in reversed(choices):  # the module keeps the monitor's weights
        checkpoint = read_chosen(source, choice, module, "fit" in stages)
        chosen.insert(0, Chosen(choice, checkpoint["epoch"], checkpoint["val_scores"]))
        if stages != ["fit"]:
            module.load_state_dict(checkpoint["state_dict"])
        if "test" in stages and not pruned(trainer):
            module.tested = choice.rankings
            trainer.test(module, data, verbose=False)
    return Outcome(tuple(chosen), ended_by)


def read_chosen(folder: Path, choice: Choice, module: NextItemModule, own: bool) -> dict[str, Any]:
    """Read the checkpoint of a choice.

    Args:
        folder: of checkpoints.
        choice: what chose the weights.
        module: the module that is to have them.
        own: whether this run trained them, so that its whole identity must agree.

    Raises:
        InputError: it is missing, or was trained, chosen or validated in another way than this run.
    """
    names = WEIGHTS
    if choice.monitor is not None and module.learns:  # the names of a run's files tell what chose them
        names = (*WEIGHTS, "monitor", "select_per_ranking")
    path, monitor = folder / choice.file, module.identity["monitor"]
    checkpoint = read_checkpoint(path, module.identity, None if own else names)
    require(
        monitor in checkpoint["val_scores"],
        f"{path}: was not validated by monitor={monitor}; give the overrides it was trained with",
    )
    return checkpoint


def pruned(trainer: pl.Trainer) -> bool:
    """Whether a search gave the run up."""
    callbacks: list[pl.Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    return any(isinstance(callback, TrialReport) and callback.pruned for callback in callbacks)


def fit(
    trainer: pl.Trainer,
    module: NextItemModule,
    data: pl.LightningDataModule,
    folder: Path,
    choices: Sequence[Choice],
    resume: str | None,
    begin: Callable[[], None],
) -> str:
    """Train until patience ends or a limit is reached, from scratch or from where a checkpoint stands.

    Returns:
        Why training ended; see `Outcome`.
    """
    if not module.learns:
        begin()
        trainer.validate(module, data, verbose=False)
        require_validated(bool(module.scores.get("val")))
        trainer.save_checkpoint(folder / choices[0].file)
        return "nothing to train"
    callbacks: list[pl.Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    patience = next(callback for callback in callbacks if isinstance(callback, Patience))
    start = Path(resume) if resume not in (None, "auto") else folder / LAST
    if resume is None or (resume == "auto" and not start.exists()):
        begin()
        trainer.fit(module, data)
    else:
        checkpoint = read_checkpoint(start, module.identity)
        longest = trainer.max_epochs
        require(
            longest in (None, -1) or checkpoint["epoch"] < longest,
            f"{start}: has trained {checkpoint['epoch'] + 1} epochs, more than trainer.max_epochs={longest}: raise it, "
            "or start again with resume=null",
        )
        require("callbacks" in checkpoint, f"{start}: holds weights only; give resume={start.with_name(LAST)}")
        if start.parent != folder and trainer.is_global_zero:
            copy_best(start.parent, folder, choices)
        for callback in callbacks:
            if isinstance(callback, Patience | History | Timing):
                callback.load_state_dict(checkpoint["callbacks"][callback.state_key])
        if patience.exhausted:  # had stopped before
            return "patience"
        begin()
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
    require_validated(has_best(trainer))
    return "patience" if patience.exhausted else "limit"


def copy_best(source: Path, folder: Path, choices: Sequence[Choice]) -> None:
    """Copy the best weights so far from where a run that goes on was before: they may stay the best."""
    folder.mkdir(parents=True, exist_ok=True)
    for choice in choices:
        if (source / choice.file).exists():
            shutil.copyfile(source / choice.file, folder / choice.file)


def require_validated(validated: bool) -> None:
    """Refuse to go on where training ended before any validation could choose weights.

    Raises:
        InputError: with the keys that make it so.
    """
    require(
        validated,
        "training ended before any validation, which chooses the weights that are kept: see trainer.max_epochs, "
        "max_steps, max_time, limit_val_batches, check_val_every_n_epoch, val_check_interval and fast_dev_run",
    )


def has_best(trainer: pl.Trainer) -> bool:
    """Whether weights were chosen, now or before the run was cut off."""
    return any(isinstance(c, BestCheckpoint) and c.best_model_score is not None for c in trainer.checkpoint_callbacks)
