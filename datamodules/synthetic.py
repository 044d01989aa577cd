"""The embedded dataset: no file, no download, and the best possible score is known."""

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool

from adamct.batch import Batch
from adamct.evaluation.ranking import Ranker, Ranks, ranks
from adamct.values import PositiveInt, Seed
from datamodules.base import SequenceDataModule
from datamodules.fingerprint import Prepared, contents, digests
from datamodules.negatives import UniformNegatives
from datamodules.planted import PlantedLog, PlantedProcess
from datamodules.preprocessing import Interactions
from datamodules.splits import LeaveOneOut


class SyntheticDataModule(SequenceDataModule):
    """Draws its log from a `PlantedProcess`, half of whose users follow a taste and half their last few items.

    Args:
        process: what the log is drawn from.
        num_users: how many users are drawn.
        max_len: see `SequenceDataModule`, as for all that follow.
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
        super().__init__(LeaveOneOut(), max_len, batch_size, eval_batch_size, negatives, seed, shuffle_histories)
        self.process = process
        self.log: PlantedLog = process.sample(num_users)

    def load(self) -> Prepared:
        """Return the log as it was drawn: every user and item has five interactions, so no k-core is needed."""
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
        """Who was drawn as taste-driven; the others are recency-driven."""
        return {"taste-driven": self.log.taste_driven}

    def references(self) -> dict[str, Ranker]:
        """Popularity, and the exact probabilities of each user's test item, which no model can beat but by luck."""
        return {**super().references(), "planted optimum": self._optimum}

    def _optimum(self, batch: Batch) -> Ranks:
        assert batch.candidates is not None
        users = batch.user.numpy(force=True)
        starts, ends = self.log.offsets[users], self.log.offsets[users + 1] - 1
        scores = torch.from_numpy(self.process.next_item_probabilities(self.log.items, starts, ends))
        return ranks(scores.to(batch.user.device), batch.target, batch.candidates)
