"""The trainer of a run, with the callbacks that every run has."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import DictConfig
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import PassThroughProfiler

from adamct import kernels
from adamct.analysis.mixture_coefficients import MixtureMonitor
from adamct.checkpoint import AtomicCheckpointIO
from adamct.errors import naming_key, require
from adamct.loggers.base import running
from adamct.randomness import seed_libraries
from adamct.runs.console import is_live
from adamct.runs.processes import require_tasks, slurm_tasks
from adamct.search.pruning import trial_reports
from adamct.training.callbacks import History, Timing
from adamct.training.checkpoints import BestCheckpoint, LastCheckpoint, StopOnSignal
from adamct.training.gpus import on_least_used_gpu
from adamct.training.precision import require_supported, require_trains
from adamct.training.progress import EpochLines, Progress
from adamct.training.selection import Choice, Patience
from adamct.training.stages import Plan
from adamct.values import MatmulPrecision

NOTHING = nullcontext()


class NoProfiler(PassThroughProfiler):
    """A profiler without the cost of a context manager, which Lightning enters over a hundred times a step."""

    def profile(self, action_name: str) -> nullcontext:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the same empty context for every action."""
        return NOTHING


def set_up_torch(seed: int, matmul_precision: MatmulPrecision) -> None:
    """Seed all libraries, and set how the process keeps freed memory and multiplies float32 matrices."""
    kernels.keep_freed_memory()
    seed_libraries(seed)
    torch.set_float32_matmul_precision(matmul_precision)


@contextmanager
def configured_trainer(cfg: DictConfig, plan: Plan, num_users: int, folder: Path) -> Iterator[pl.Trainer]:
    """Build a run's trainer, and hold its GPU and its loggers until the block ends.

    Args:
        cfg: the run's config.
        plan: the stages of the run.
        num_users: the number of users that are validated.
        folder: the run's folder.
    """
    added = instantiate(cfg.callbacks)
    for name, callback in added.items():
        is_callback = isinstance(callback, pl.Callback)
        require(is_callback, f"callbacks.{name}: must be a pytorch_lightning.Callback; give another _target_")
    configured = instantiate(cfg.trainer, _partial_=True, callbacks=[*added.values()])
    with on_least_used_gpu(configured) as make_trainer, running(cfg.logger) as loggers:
        callbacks = []
        if "fit" in plan.stages:
            every = cfg.save_every_n_steps
            callbacks = fit_callbacks(plan.folder, num_users, plan.choices, cfg.patience, every)
            callbacks += trial_reports(HydraConfig.get().sweeper, cfg.monitor)
        yield build_trainer(make_trainer, loggers, callbacks, cfg.monitor, folder)


def build_trainer(
    make_trainer: partial[pl.Trainer],
    loggers: Sequence[Logger],
    callbacks: Sequence[pl.Callback],
    monitor: str,
    folder: Path,
) -> pl.Trainer:
    """Build the configured trainer with what every run has.

    Args:
        make_trainer: the configured trainer.
        loggers: the run's loggers.
        callbacks: those of training (see `fit_callbacks`); empty for a run without fit.
        monitor: the validation metric whose progress is shown.
        folder: the run's folder.
    """
    silence_lightning()
    configured = make_trainer.keywords
    has_bar = configured.get("enable_progress_bar", True) and is_live()
    fits = bool(callbacks)
    callbacks = [*(configured.get("callbacks") or []), Timing(), *callbacks]
    if fits and loggers:
        callbacks.append(LearningRateMonitor("epoch"))
    if fits:
        callbacks.append(EpochLines(monitor, has_bar))
    if has_bar:
        callbacks.append(Progress(monitor))
    require_trains(precision := configured.get("precision"))
    with naming_key("trainer"):
        trainer = make_trainer(
            logger=list(loggers),
            callbacks=callbacks,
            enable_progress_bar=has_bar,
            enable_checkpointing=fits,
            profiler=configured.get("profiler") or NoProfiler(),
            plugins=[*(configured.get("plugins") or []), AtomicCheckpointIO(), *environments()],
            default_root_dir=folder,
        )
    require_supported(precision, trainer.precision, trainer.strategy.root_device)
    require_tasks(trainer.num_devices, trainer.num_nodes)
    return trainer


def environments() -> list[LightningEnvironment]:
    """Return Lightning's own environment for one task of Slurm. Its Slurm environment waits for other tasks."""
    return [LightningEnvironment()] if slurm_tasks() == 1 else []


def fit_callbacks(
    folder: Path, num_users: int, choices: Sequence[Choice], patience: int, save_every_n_steps: int | None
) -> list[pl.Callback]:
    """Return the callbacks of training.

    Args:
        folder: the folder of checkpoints.
        num_users: the number of users that are validated.
        choices: the validation scores that choose weights; training goes on as long as one of them improves.
        patience: the number of validations in which no choice improves, before training stops.
        save_every_n_steps: the steps between two saves of the state to resume from; None saves after every epoch.
    """
    monitors = [choice.monitor for choice in choices if choice.monitor is not None]
    return [
        MixtureMonitor(num_users),
        History(),
        Patience(monitors, patience),
        *(BestCheckpoint(folder, choice) for choice in choices),
        LastCheckpoint(folder, save_every_n_steps),
        StopOnSignal(folder),
    ]


def silence_lightning() -> None:
    """Silence Lightning's notices, and its warnings that do not apply to these runs."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("pytorch_lightning.profilers").setLevel(logging.INFO)  # a user has asked for their reports
    for beginning in (
        "The number of training batches .* is smaller than the logging interval",  # epochs are logged
        "It is recommended to use .*sync_dist=True",  # the metrics join the processes
        "Checkpoint directory .* exists and is not empty",  # as it should when resumed
        ".*LeafSpec.* is deprecated",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", beginning)
