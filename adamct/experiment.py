"""The trainer of a run and its stages, fit and test."""

import logging
import shutil
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import PassThroughProfiler

from adamct.callbacks import BEST, LAST, BestCheckpoint, History, LastCheckpoint, Progress, Timing
from adamct.checkpoint import AtomicCheckpointIO, read_checkpoint
from adamct.coefficients import MixtureMonitor
from adamct.errors import InputError, blame, require
from adamct.memory import keep_freed_memory
from adamct.module import NextItemModule
from adamct.precision import require_kept, require_trains
from adamct.processes import require_tasks, slurm_tasks
from adamct.randomness import seed_libraries
from adamct.trial import TrialReport

NOTHING = nullcontext()


class NoProfiler(PassThroughProfiler):
    """Lightning enters its profiler over a hundred times a step; where none is asked for, nothing is made for it."""

    def profile(self, action_name: str) -> nullcontext:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Do nothing."""
        return NOTHING


def set_up_torch(seed: int, matmul_precision: str) -> None:
    """Seed everything, and say how this process keeps memory and how precisely it multiplies float32 matrices."""
    keep_freed_memory()
    with blame("seed"):
        seed_libraries(seed)
    known = ("highest", "high", "medium")
    require(matmul_precision in known, f"matmul_precision={matmul_precision}: must be one of {', '.join(known)}")
    torch.set_float32_matmul_precision(matmul_precision)


def build_trainer(
    make_trainer: partial[pl.Trainer],
    logger: Logger | None,
    folder: Path,
    num_users: int,
    monitor: str,
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
        monitor: the validation score that chooses and stops.
        patience: validations without improvement before the run stops.
        save_every_n_steps: also save the state to resume from within an epoch.
        stages: what the trainer is for.
        trial: reports to the search that the run is a trial of, if it is one.
        quiet: no progress bar, whatever is configured.
    """
    hush()
    progress = make_trainer.keywords.get("enable_progress_bar", True) and not quiet
    callbacks: list[pl.Callback] = [*(make_trainer.keywords.get("callbacks") or []), Timing()]
    if "fit" in stages:
        callbacks += fit_callbacks(folder, num_users, monitor, patience, save_every_n_steps)
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
    every = trainer.accumulate_grad_batches
    require(every >= 1, f"trainer.accumulate_grad_batches={every}: must be at least 1")
    require_tasks(trainer.num_devices, trainer.num_nodes)
    return trainer


def fit_callbacks(
    folder: Path, num_users: int, monitor: str, patience: int, save_every_n_steps: int | None
) -> list[pl.Callback]:
    """What training does beside its steps; see `build_trainer`."""
    require(isinstance(patience, int) and patience >= 1, f"patience={patience}: must be a whole number from 1")
    return [
        MixtureMonitor(num_users),
        History(),
        EarlyStopping(monitor, mode="max", patience=patience, check_on_train_epoch_end=False),
        BestCheckpoint(folder, monitor),
        LastCheckpoint(folder, save_every_n_steps),
    ]


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


def run_stages(
    trainer: pl.Trainer,
    module: NextItemModule,
    data: pl.LightningDataModule,
    folder: Path,
    stages: Sequence[str],
    ckpt: str | None,
    resume: str | None,
) -> dict[str, Any]:
    """Run the stages in order.

    Args:
        trainer: with the callbacks above.
        module: the model to train or test.
        data: its data.
        folder: the run's folder of checkpoints.
        stages: some of fit, test and predict, which is left to whoever has the module with its weights then.
        ckpt: the weights to use where nothing was trained before.
        resume: a checkpoint to continue training from; ``auto`` takes the folder's own, if there is one; None trains
            from scratch.

    Returns:
        The checkpoint that was tested, without its weights, or the best one where nothing was tested.

    Raises:
        InputError: stages, monitor or checkpoints that do not fit together.
    """
    unknown = set(stages) - {"fit", "test", "predict"}
    require(not unknown and bool(stages), f"stages={list(stages)}: give some of fit, test and predict")
    chosen = None if ckpt is None else Path(ckpt)
    if "fit" in stages:
        fit(trainer, module, data, folder, resume)
        chosen = folder / BEST
    if chosen is None:
        raise InputError(f"stages={list(stages)} needs the weights to use: ckpt=PATH")
    checkpoint = read_checkpoint(chosen, {key: module.identity[key] for key in ("model", "dataset")})
    if stages != ["fit"]:
        module.load_state_dict(checkpoint["state_dict"])
    if "test" in stages and not pruned(trainer):
        trainer.test(module, data, verbose=False)
    return {key: checkpoint[key] for key in ("epoch", "global_step", "val_scores", "callbacks")}


def pruned(trainer: pl.Trainer) -> bool:
    """Whether a search gave the run up."""
    callbacks: list[pl.Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    return any(isinstance(callback, TrialReport) and callback.pruned for callback in callbacks)


def fit(
    trainer: pl.Trainer, module: NextItemModule, data: pl.LightningDataModule, folder: Path, resume: str | None
) -> None:
    """Train to the early stop, from scratch or from where a checkpoint stands."""
    if not any(parameter.requires_grad for parameter in module.model.parameters()):  # nothing to learn
        trainer.validate(module, data, verbose=False)
        require_validated(bool(module.scores.get("val")))
        trainer.save_checkpoint(folder / BEST)
        return
    for callback in trainer.early_stopping_callbacks:
        known = module.metric_names("val")
        require(callback.monitor in known, f"monitor={callback.monitor}: must be one of {', '.join(known)}")
    start = Path(resume) if resume not in (None, "auto") else folder / LAST
    if resume is None or (resume == "auto" and not start.exists()):
        trainer.fit(module, data)
        require_validated(has_best(trainer))
        return
    checkpoint = read_checkpoint(start, module.identity)
    longest = trainer.max_epochs
    require(
        longest in (None, -1) or checkpoint["epoch"] < longest,
        f"{start}: has trained {checkpoint['epoch'] + 1} epochs, more than trainer.max_epochs={longest}: raise it, or "
        "start again with resume=null",
    )
    if start.parent != folder and start.with_name(BEST).exists() and trainer.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(start.with_name(BEST), folder / BEST)  # it may stay the best
    if not has_stopped(checkpoint):
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
        require_validated(has_best(trainer))


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


def has_stopped(checkpoint: dict[str, Any]) -> bool:
    """Whether early stopping had already ended the run a checkpoint is of."""
    return any(state.get("wait_count", 0) >= state.get("patience", 1) for state in checkpoint["callbacks"].values())
