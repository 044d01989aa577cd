"""The LightningModule around every model: the step, both rankings, the optimizer."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adamct.batch import Batch
from adamct.checkpoint import check_identity
from adamct.errors import InputError, blame, require
from adamct.losses import cross_entropy
from adamct.metrics import RankingMetrics, ranks
from adamct.models.base import NextItemModel

LOOK_EVERY = 50
"""Steps between looks at the loss, because looking makes a GPU wait."""


class NextItemModule(pl.LightningModule):
    """Trains any `NextItemModel` and ranks under both protocols in one pass.

    Args:
        model: the model.
        optimizer: makes the optimizer of the parameters.
        scheduler: makes the scheduler of the optimizer, stepped every epoch; None keeps the learning rate.
        num_users: how many users are ranked.
        num_negatives: items of the sampled ranking, which names its metrics (``uni100``).
        cutoffs: the k of Recall@k and NDCG@k.
        seed: what dropout and all other randomness of training depends on.
        identity: what a checkpoint must agree on to be loaded, as plain nested dicts.
    """

    def __init__(
        self,
        model: NextItemModel,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None,
        num_users: int,
        num_negatives: int,
        cutoffs: Sequence[int],
        seed: int,
        identity: dict[str, Any],
    ):
        super().__init__()
        require(all(k >= 1 for k in cutoffs), f"cutoffs={list(cutoffs)}: must be at least 1")
        self.model = model
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.seed = seed
        self.identity = identity
        self.cutoffs = tuple(cutoffs)
        self.protocols = (f"uni{num_negatives}", "full")
        self.metrics = nn.ModuleDict(
            {
                stage: nn.ModuleDict({name: RankingMetrics(num_users, cutoffs) for name in self.protocols})
                for stage in ("val", "test")
            }
        )
        self.scores: dict[str, dict[str, float]] = {}
        """The latest metrics of each stage, by their full names."""
        self.register_buffer("first_bad_step", torch.tensor(torch.iinfo(torch.long).max), persistent=False)

    def configure_optimizers(self) -> Any:
        """The optimizer, and its scheduler stepped every epoch."""
        with blame("optimizer"):
            optimizer = self.make_optimizer(self.model.parameters())
        if self.make_scheduler is None:
            return optimizer
        with blame("scheduler"):
            return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer)}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed every step from its number, so that a resumed run needs no generator's state to continue exactly."""
        state = np.random.SeedSequence([self.seed, self.global_rank, self.current_epoch, batch_idx])
        seed = int(state.generate_state(1, np.uint64)[0])
        # Not torch.manual_seed, which takes down the stack for each kind of device that is not in use: a millisecond.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Cross-entropy over the whole catalogue, and the model's penalty."""
        queries, targets = self.model.training_pairs(batch)
        loss = cross_entropy(queries, self.model.item_table(), self.model.item_bias(), targets)
        loss = loss + self.model.penalty(batch)
        bad = torch.where(loss.detach().isfinite(), self.first_bad_step, self.global_step)
        self.first_bad_step = torch.minimum(self.first_bad_step, bad)
        self.log("train/loss", loss.detach(), on_step=True, on_epoch=True, prog_bar=True, batch_size=len(batch.user))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Look at the loss now and then."""
        if self.global_step % LOOK_EVERY == 0:
            self.raise_if_not_finite()

    def on_validation_start(self) -> None:
        """Nothing is ranked with weights that are no numbers."""
        self.raise_if_not_finite()

    def raise_if_not_finite(self) -> None:
        """Stop a run whose loss was NaN or infinite at some step."""
        if self.first_bad_step <= self.global_step:
            raise InputError(
                f"the loss is not finite at step {int(self.first_bad_step)} (epoch {self.current_epoch}): lower "
                "optimizer.lr or set trainer.gradient_clip_val; the checkpoints of earlier epochs are kept"
            )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Rank the validation items."""
        self._rank("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Rank the test items."""
        self._rank("test", batch)

    def _rank(self, stage: str, batch: Batch) -> None:
        assert batch.negatives is not None
        scores = F.linear(self.model.queries(batch), self.model.item_table(), self.model.item_bias())
        for name, rank in zip(self.protocols, ranks(scores, batch.target, batch.negatives), strict=True):
            self.metric(stage, name).update(batch.user, rank)

    def metric(self, stage: str, protocol: str) -> RankingMetrics:
        """The ranks of one stage (val, test) under one protocol."""
        return cast(RankingMetrics, cast(nn.ModuleDict, self.metrics[stage])[protocol])

    def metric_names(self, stage: str) -> list[str]:
        """What a stage logs, such as ``val/uni100/ndcg@10``."""
        return [
            f"{stage}/{protocol}/{name}" for protocol in self.protocols for name in self.metric(stage, protocol).names
        ]

    def on_validation_epoch_end(self) -> None:
        """Log ``val/...``."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log ``test/...``."""
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> None:
        self.scores[stage] = {
            f"{stage}/{protocol}/{name}": value
            for protocol in self.protocols
            for name, value in self.metric(stage, protocol).compute().items()
        }
        self.log_dict(self.scores[stage], sync_dist=False, rank_zero_only=False)

    def on_validation_epoch_start(self) -> None:
        """Forget the ranks of the last validation."""
        self._reset("val")

    def on_test_epoch_start(self) -> None:
        """Forget the ranks of an earlier test."""
        self._reset("test")

    def _reset(self, stage: str) -> None:
        for protocol in self.protocols:
            self.metric(stage, protocol).reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the weights belong to, and how well they validated."""
        self.raise_if_not_finite()
        checkpoint["identity"] = self.identity
        checkpoint["val_scores"] = self.scores.get("val", {})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another model's or dataset's weights."""
        check_identity(checkpoint, self.identity)
        self.scores["val"] = checkpoint["val_scores"]
