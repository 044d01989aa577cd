"""A run of Weights & Biases for each run's folder."""

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import wandb
from jaxtyping import Float
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from adamct.errors import InputError, on_one_line
from adamct.loggers.base import End, stored

EXIT_CODES = {End.SUCCESS: 0, End.FAILURE: 1, End.STOP: 255}
"""The codes with which a run is finished. W&B itself uses the last one for Ctrl-C."""


class WandbRun(WandbLogger):
    """A W&B run whose id is stored in the run's folder. A resumed run continues it.

    Its summary shows the best value of each validation metric and, once the run has ended, the value with the weights
    that the run chose. Of everything else it shows the last value.

    Args:
        save_dir: the run's folder.
        mode: online, offline (only files) or disabled.
        project: W&B's project.
        entity: W&B's user or team; None for the account's default.
        name: the run's name; None for the name of its folder, which in a sweep has the values that vary.
        group: the group of the run; None for the name of the parent folder, which in a sweep is the sweep's.
        job_type: the kind of the run within its group.
        tags: the run's tags.

    Raises:
        InputError: W&B refuses the run, for example because there is no account.
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
            id=stored(folder / "wandb_run_id", partial(secrets.token_hex, 4)),
            project=project,
            entity=entity,
            group=group or folder.parent.name,
            job_type=job_type,
            tags=list(tags),
            mode=mode,
            resume="allow",
        )
        self._wandb_init.pop("anonymous", None)  # W&B warns of it whatever its value is
        self.best: dict[str, float] = {}
        """The best value of each validation metric, also of earlier parts of a resumed run."""
        self._start()

    @rank_zero_only
    def _start(self) -> None:
        try:
            summary = dict(self.experiment.summary)
        except wandb.Error as error:
            raise InputError(
                f"logger.wandb: {on_one_line(error).removesuffix('.')}; logger.wandb.mode=offline needs no account"
            ) from error
        self.best = {name: value for name, value in summary.items() if name.startswith("val/")}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values, and show the best of each validation metric in the summary.

        W&B's own aggregates of a summary depend on the order of overlapping patterns, one of which is Lightning's.
        """
        super().log_metrics(metrics, step)
        scores = {name: float(value) for name, value in metrics.items() if name.startswith("val/")}
        self.log_best({name: max(score, self.best.get(name, score)) for name, score in scores.items()})

    @rank_zero_only
    def log_best(self, scores: Mapping[str, float]) -> None:
        """Show validation scores in the summary."""
        self.best |= scores
        self.experiment.summary.update(dict(scores))

    @rank_zero_only
    def log_histogram(self, name: str, values: Float[Tensor, " U"], step: int) -> None:
        """Log a histogram beside the next metrics, which have its step."""
        self.experiment.log({name: wandb.Histogram(values.tolist())}, commit=False)

    @rank_zero_only
    def finish(self, end: End) -> None:
        """Finish the run. Otherwise the next job of a sweep would continue it."""
        self.experiment.finish(EXIT_CODES[end])
