"""The loggers of a run: their start and end, and what some of them take besides metrics."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl
from hydra.utils import instantiate
from jaxtyping import Float
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor


class End(Enum):
    """The end of a run."""

    SUCCESS = "success"
    FAILURE = "failed"
    STOP = "stopped"
    """Ctrl-C or a signal."""

    @classmethod
    def by(cls, error: BaseException | None) -> "End":
        """Return the end of a run that an exception ended, or none."""
        if error is None:
            return cls.SUCCESS
        return cls.FAILURE if isinstance(error, Exception) else cls.STOP


@runtime_checkable
class Finishes(Protocol):
    """A logger that must be told when a run has ended. Lightning only tells it when a stage has."""

    def finish(self, end: End) -> None:
        """Write what is left and record how the run ended."""


@runtime_checkable
class TakesHistograms(Protocol):
    """A logger with histograms."""

    def log_histogram(self, name: str, values: Float[Tensor, " U"], step: int) -> None:
        """Log the distribution of some values at a step."""


@runtime_checkable
class TakesBest(Protocol):
    """A logger that shows a final value of a metric beside the metric's history."""

    def log_best(self, scores: Mapping[str, float]) -> None:
        """Show the validation scores of the chosen weights, in place of the last ones."""


@rank_zero_only
def stored(file: Path, make: Callable[[], str]) -> str:
    """Return the text of a file in the run's folder, which a resumed run has again. Write it if it is missing."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(make(), encoding="utf-8")
    return file.read_text(encoding="utf-8")


@contextmanager
def running(configs: DictConfig) -> Iterator[list[Logger]]:
    """Start the loggers of a config, and finish them when the block ends, with the way in which it ended.

    Args:
        configs: the config of each logger, by name.
    """
    with ExitStack() as stack:
        loggers = []
        for config in configs.values():
            loggers.append(instantiate(config))
            stack.push(partial(finish, loggers[-1]))
        yield loggers


def finish(logger: Logger, error_type: Any, error: BaseException | None, trace: Any) -> None:
    """Finish a logger. The arguments after the first are those of a context manager's exit."""
    end = End.by(error)
    if isinstance(logger, Finishes):
        logger.finish(end)
    else:
        logger.finalize("success" if end is End.SUCCESS else "failed")


def log_histogram(trainer: pl.Trainer, name: str, values: Float[Tensor, " U"]) -> None:
    """Log a histogram to each logger of the trainer that has histograms."""
    if trainer.is_global_zero:
        for logger in trainer.loggers:
            if isinstance(logger, TakesHistograms):
                logger.log_histogram(name, values, trainer.global_step)


def log_results(trainer: pl.Trainer, best: Mapping[str, float], cost: Mapping[str, int | float | None]) -> None:
    """Log a run's validation scores with the chosen weights and its cost to each logger of the trainer.

    The scores are ``best/RANKING/METRIC`` for loggers that have no better place for them.

    Args:
        trainer: the trainer of the run.
        best: the scores, such as ``val/full/ndcg@10``.
        cost: the costs; those that are None are left out.
    """
    costs = {f"cost/{name}": float(value) for name, value in cost.items() if value is not None}
    for logger in trainer.loggers:
        values = dict(costs)
        if isinstance(logger, TakesBest):
            logger.log_best(best)
        else:
            values |= {f"best/{name.partition('/')[2]}": score for name, score in best.items()}
        logger.log_metrics(values, trainer.global_step)
