"""Additions to Lightning's loggers: one W&B run for each run's folder, histograms, and the end of a W&B run."""

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
from jaxtyping import Float
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor


class WandbRun(WandbLogger):
    """A W&B run whose id is stored in the run's folder. A resumed run continues it.

    Its summary shows the best value of each metric, not the last.

    Args:
        save_dir: the run's folder.
        mode: online, offline (only files) or disabled.
        project: W&B's project.
        entity: W&B's user or team; None for the account's default.
        name: the run's name; None for the name of its folder, which in a sweep has the values that vary.
        group: the group of the run; None for the name of the parent folder, which in a sweep is the sweep's.
        job_type: the kind of the run within its group.
        tags: the run's tags.
    """

    def __init__(
        self,
        save_dir: str,
        mode: Literal["online", "offline", "disabled"],
        project: str,
        entity: str | None,
        name: str | None,
        group: str | None,
        job_type: str | None,
        tags: Sequence[str],
    ):
        folder = Path(save_dir)
        super().__init__(
            name=name or folder.name,
            save_dir=save_dir,
            id=run_id(folder),
            project=project,
            entity=entity,
            group=group or folder.parent.name,
            job_type=job_type,
            tags=list(tags),
            mode=mode,
            resume="allow",
        )
        self._wandb_init.pop("anonymous", None)  # W&B warns of it whatever its value is
        self._define_summaries()

    @rank_zero_only
    def _define_summaries(self) -> None:
        for metrics in ("val/*", "test/*"):
            self.experiment.define_metric(metrics, summary="max")


@rank_zero_only
def run_id(folder: Path) -> str:
    """Return the W&B run id of a folder. Create and store one if the folder has none."""
    file = folder / "wandb_run_id"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(secrets.token_hex(4))
    return file.read_text()


def log_histogram(trainer: pl.Trainer, name: str, values: Float[Tensor, " U"]) -> None:
    """Log a histogram to each logger of the trainer that has histograms."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_histogram(name, values, trainer.global_step)
        elif isinstance(logger, WandbLogger):
            import wandb

            logger.experiment.log({name: wandb.Histogram(values.tolist())}, commit=False)


def finish_wandb(failed: bool) -> None:
    """Finish this process' W&B run if it has one. Otherwise the next job of a sweep would continue it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=int(failed))
