"""The embedded dataset. It needs no file and no download, and its best possible score is known."""

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool

from adamct.batch import EvaluationBatch, Ranks
from adamct.dataset import Ranker
from adamct.evaluation.ranking import ranks
from adamct.values import PositiveInt, Seed
from datamodules.base import SequenceDataModule
from datamodules.fingerprint import Prepared, contents, digests
from datamodules.negatives import UniformNegatives
from datamodules.planted import PlantedLog, PlantedProcess
from datamodules.preprocessing import Interactions
from datamodules.splits import LeaveOneOut


class SyntheticDataModule(SequenceDataModule):
    """A log drawn from a `PlantedProcess`: some users follow a taste, the others their last few items.

    Args:
        process: the process.
        num_users: the number of users.
        max_len: described in `SequenceDataModule`, like all arguments after it.
    """

    def __init__(
        self,
        process: PlantedProcess,
        num_users: PositiveInt,
        max_len: PositiveInt,
        batch_size: PositiveInt,
        eval_batch_size: PositiveInt,
        negatives: UniformNegatives,
        seed: Seed,
        shuffle_histories: bool,
    ):
        super().__init__(
            LeaveOneOut(),
            max_len=max_len,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            negatives=negatives,
            seed=seed,
            shuffle_histories=shuffle_histories,
        )
        self.process = process
        self.log: PlantedLog = process.sample(num_users)

    def load(self) -> Prepared:
        """Return the log as it was drawn. Every user and item has five interactions, so it needs no k-core."""
        num_users, num_items = len(self.log.offsets) - 1, self.process.tastes.shape[1] - 1
        interactions = Interactions(
            items=self.log.items,
            offsets=self.log.offsets,
            times=np.arange(len(self.log.items)) - np.repeat(self.log.offsets[:-1], np.diff(self.log.offsets)),
            user_ids=pl.Series("id", np.arange(num_users)).cast(pl.String),
            item_ids=pl.Series("id", np.arange(1, num_items + 1)).cast(pl.String),
        )
        return Prepared(interactions, digests(contents(interactions)))

    def user_kinds(self) -> dict[str, Bool[np.ndarray, " U"]]:
        """Return which users are taste-driven. The others are recency-driven."""
        return {"taste-driven": self.log.taste_driven}

    def references(self) -> dict[str, Ranker]:
        """Return the exact probabilities of the next item, which a model can beat only by luck."""
        return {"planted optimum": self._optimum}

    def _optimum(self, batch: EvaluationBatch) -> Ranks:
        histories, candidates = batch
        users = histories.user.numpy(force=True)
        starts, ends = self.log.offsets[users], self.log.offsets[users + 1] - 1
        scores = torch.from_numpy(self.process.next_item_probabilities(self.log.items, starts, ends))
        return ranks(scores.to(histories.user.device), histories.target, candidates)
