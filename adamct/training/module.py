"""The LightningModule around every model: the step, the rankings, the optimizer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adamct.batch import Batch, DataSpec, EvaluationBatch
from adamct.errors import naming_key
from adamct.evaluation.metrics import LIST_LENGTH, ListMetrics, RankingMetrics
from adamct.evaluation.names import FULL, FULL_UNSEEN, metric_names, names_of_rankings
from adamct.evaluation.ranking import rank_targets, top_items
from adamct.models.base import NextItemModel, VectorModel
from adamct.randomness import Stream, seed_torch
from adamct.training.epoch_loss import EpochLoss
from adamct.training.step import Loss
from adamct.values import Checked, PositiveInt


class NextItemModule(Checked, pl.LightningModule):
    """The training of any `NextItemModel`, and its evaluation in three rankings in one pass.

    Args:
        model: the model.
        loss: the loss of a training step.
        optimizer: makes the optimizer of the parameters.
        scheduler: makes the scheduler of the optimizer, which steps every epoch; None keeps the learning rate.
        spec: the facts of the data.
        num_negatives: the number of sampled items in the sampled ranking, which names its metrics (``uni100``).
        cutoffs: the k of Recall@k and NDCG@k.
        seed: the seed of dropout and all other randomness of training.
        identity: the facts that a checkpoint must share to be loaded, as plain nested dicts.
        item_ids: the items' ids in the log, that of item i at position i - 1. With them, a checkpoint alone can
            recommend.
    """

    def __init__(
        self,
        model: NextItemModel,
        loss: Loss,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None,
        spec: DataSpec,
        num_negatives: int,
        cutoffs: Sequence[PositiveInt],
        seed: int,
        identity: dict[str, Any],
        item_ids: Sequence[str],
    ):
        super().__init__()
        self.model = model
        self.loss = loss
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.seed = seed
        self.identity = identity
        self.item_ids = item_ids
        self.cutoffs = tuple(cutoffs)
        self.rankings = names_of_rankings(num_negatives)
        self.tested: tuple[str, ...] = self.rankings
        """The rankings that are tested with the current weights."""
        self.metrics = nn.ModuleDict(
            {
                stage: nn.ModuleDict({name: RankingMetrics(spec.num_users, cutoffs) for name in self.rankings})
                for stage in ("val", "test")
            }
        )
        self.lists = nn.ModuleDict({name: ListMetrics(spec.item_counts, LIST_LENGTH) for name in (FULL, FULL_UNSEEN)})
        """The metrics of the recommended lists of the test, for each ranking among all items."""
        self.scores: dict[str, dict[str, float]] = {}
        """The latest metrics of each stage, by their full names."""
        self.epoch_loss = EpochLoss()

    @property
    def learns(self) -> bool:
        """Whether the model has anything to train."""
        return any(parameter.requires_grad for parameter in self.model.parameters())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load the weights of a checkpoint.

        Raises:
            InputError: the weights do not fit, for example because the model's code has changed.
        """
        with naming_key("the checkpoint's weights do not fit the model"):
            return super().load_state_dict(state_dict, strict, assign)

    def configure_optimizers(self) -> Any:
        """Return the optimizer, and its scheduler if there is one."""
        with naming_key("optimizer"):
            optimizer = self.make_optimizer(self.model.parameters())
        if self.make_scheduler is None:
            return optimizer
        with naming_key("scheduler"):
            return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer)}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed every step by its number, so that a resumed run continues exactly without the generators' states."""
        step = (self.current_epoch, batch_idx, self.global_rank)
        seed_torch(self.device, self.seed, Stream.TRAINING_STEP, *step)

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss. It must not be read here: that makes a GPU wait, and so does Lightning's ``prog_bar``."""
        assert isinstance(self.model, VectorModel)  # other models have nothing to train
        loss = self.loss(self.model, batch)
        step = self.global_step
        self.epoch_loss.add(self.current_epoch, step, len(batch.user), loss)
        every: int = self.trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        if batch_idx == 0 or (step + 1) % every == 0:  # logging costs as much as a small model's step
            self.log("train/loss_step", loss.detach(), on_step=True)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Read the losses from time to time, so that a loss that is not finite ends the run."""
        if self.epoch_loss.is_due:
            self.epoch_loss.read()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's loss."""
        self.log("train/loss_epoch", self.epoch_loss.mean())

    def on_validation_start(self) -> None:
        """Read the losses before the validation: weights that are not finite must not rank."""
        self.epoch_loss.read()

    def validation_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        """Rank the validation items."""
        self._rank("val", batch)

    def test_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        """Rank the test items, and count the recommended items."""
        self._rank("test", batch)

    def _rank(self, stage: str, batch: EvaluationBatch) -> None:
        histories, candidates = batch
        scores = self.model.scores(histories)
        with torch.autocast(scores.device.type, enabled=False):
            ranked = rank_targets(scores, histories.target, candidates)
            for ranking, rank in zip(self.rankings, ranked, strict=True):
                if stage == "val" or ranking in self.tested:
                    self.metric(stage, ranking).update(histories.user, rank)
            if stage == "test":
                for ranking, left_out in ((FULL, None), (FULL_UNSEEN, candidates.seen)):
                    if ranking in self.tested:
                        self._lists(ranking).update(top_items(scores, LIST_LENGTH, left_out)[0])

    def metric(self, stage: str, ranking: str) -> RankingMetrics:
        """Return the metrics of one stage (val, test) in one ranking."""
        return cast(RankingMetrics, cast(nn.ModuleDict, self.metrics[stage])[ranking])

    def _lists(self, ranking: str) -> ListMetrics:
        return cast(ListMetrics, self.lists[ranking])

    def metric_names(self, stage: str) -> list[str]:
        """Return the names of a stage's ranking metrics, such as ``val/uni100/ndcg@10``."""
        return metric_names(stage, self.rankings, self.cutoffs)

    def on_validation_epoch_start(self) -> None:
        """Forget the ranks of the last validation."""
        for ranking in self.rankings:
            self.metric("val", ranking).reset()

    def on_test_epoch_start(self) -> None:
        """Forget earlier tests of the rankings that are tested now. Those with other weights stay."""
        for ranking in self.tested:
            self.metric("test", ranking).reset()
            if ranking in self.lists:
                self._lists(ranking).reset()

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self.scores["val"] = self._compute("val", self.rankings)
        self.log_dict(self.scores["val"], sync_dist=False, rank_zero_only=False)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        scores = self._compute("test", self.tested)
        for ranking in self.tested:
            if ranking in self.lists:
                scores |= {f"test/{ranking}/{name}": value for name, value in self._lists(ranking).compute().items()}
        self.scores.setdefault("test", {}).update(scores)
        self.log_dict(scores, sync_dist=False, rank_zero_only=False)

    def _compute(self, stage: str, rankings: Sequence[str]) -> dict[str, float]:
        return {
            f"{stage}/{ranking}/{name}": value
            for ranking in rankings
            for name, value in self.metric(stage, ranking).compute().items()
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the run's identity, the item ids, the validation scores and the epoch's loss."""
        checkpoint["identity"] = self.identity
        checkpoint["item_ids"] = self.item_ids
        checkpoint["val_scores"] = self.scores.get("val", {})
        checkpoint["epoch_loss"] = self.epoch_loss.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the validation scores and the epoch's loss. `adamct.training.stages.fit` compares the identities."""
        self.scores["val"] = checkpoint["val_scores"]
        self.epoch_loss.load(checkpoint["epoch_loss"])
