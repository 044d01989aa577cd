"""The LightningDataModule every dataset shares: examples of a split, negatives, batches on the training device."""

from abc import abstractmethod
from functools import cached_property

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from adamct.batch import Batch, DataSpec, HeldOutStatistics, Statistics, TestFacts
from adamct.errors import require
from adamct.evaluation.ranking import Ranker, Ranks, rank_targets
from adamct.randomness import Stream, numpy_generator
from adamct.values import Checked, PositiveInt, Seed
from datamodules.fingerprint import Prepared, fingerprint
from datamodules.negatives import UniformNegatives
from datamodules.preprocessing import Interactions, statistics
from datamodules.sequences import EvaluationBatches, Sequences, TrainingBatches
from datamodules.splits import HeldOut, Split, Splitter, seen_before
from datamodules.ties import held_out_statistics


class SequenceDataModule(Checked, pl.LightningDataModule):
    """The users' sequences in three parts, the training part as all its prefixes.

    Args:
        splitter: says what is trained on and what is held out.
        max_len: the most recent items kept of a history.
        batch_size: training examples a step, over all processes.
        eval_batch_size: users ranked at once.
        negatives: draws the items of the sampled ranking.
        seed: what the order of training examples, and of shuffled histories, depends on.
        shuffle_histories: whether the kept items of a history stand in a random order in place of the time's, always
            the same, which leaves a model nothing of order to learn or to use.
    """

    full_length = False
    """Whether batches are padded to ``max_len``, as some models need."""
    all_positions = False
    """Whether the model predicts all items of a history at once, so that it needs no prefixes."""

    width_multiple = 1
    """What the width of training batches is a multiple of, where it is not ``max_len``."""

    def __init__(
        self,
        splitter: Splitter,
        max_len: PositiveInt,
        batch_size: PositiveInt,
        eval_batch_size: PositiveInt,
        negatives: UniformNegatives,
        seed: Seed,
        shuffle_histories: bool,
    ):
        super().__init__()
        self.splitter = splitter
        self.max_len = max_len
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.negatives = negatives
        self.seed = seed
        self.shuffle_histories = shuffle_histories

    @cached_property
    def prepared(self) -> Prepared:
        """The prepared sequences, read or made on first use."""
        return self.load()

    @abstractmethod
    def load(self) -> Prepared:
        """Read or make the users' sequences, those of equal times in the order of the data."""

    @cached_property
    def interactions(self) -> Interactions:
        """The users' sequences, as they are trained on."""
        return self.prepared.interactions

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the prepared sequences: results of equal fingerprints are comparable."""
        return fingerprint(self.prepared.digests, self.has_times)

    @cached_property
    def source_sha256(self) -> str | None:
        """The SHA-256 of the files that the data was prepared from; None if there are none."""
        return None

    @property
    def identity(self) -> dict[str, object]:
        """The facts about the data that a checkpoint must agree on, by their config keys."""
        return {"sha256": self.fingerprint}

    @property
    def has_times(self) -> bool:
        """Whether the data tells the time of each interaction, and not only the order of each user's."""
        return False

    @cached_property
    def split(self) -> Split:
        """The parts of the sequences."""
        return self.splitter.split(self.interactions)

    @property
    def spec(self) -> DataSpec:
        """What models need to know."""
        num_items, num_users = len(self.interactions.item_ids), len(self.interactions.user_ids)
        return DataSpec(num_items, num_users, self.max_len, self.item_counts)

    def test_facts(self) -> TestFacts:
        """Return what is known of each user's test item beside its rank; 0 for users without one."""
        user, target_at = self.split.test
        facts = np.zeros((2, self.spec.num_users), np.int64)
        facts[:, user] = (
            self.item_counts.numpy()[self.interactions.items[target_at]],
            target_at - self.interactions.offsets[user],
        )
        return TestFacts(*facts)

    @property
    def longest_history(self) -> int:
        """The number of items of the longest history that a model looks at; what follows it is predicted."""
        return min(self.max_len, int(np.diff(self.interactions.offsets).max()) - 1)

    @property
    def statistics(self) -> Statistics:
        """The dataset's row of the paper's Table 1."""
        return statistics(self.interactions)

    @property
    def held_out(self) -> HeldOutStatistics:
        """How many items are held out, from what time on, and how many of them are tied with the item before."""
        return held_out_statistics(self.interactions, self.split, self.has_times)

    @cached_property
    def item_counts(self) -> Float[Tensor, " V"]:
        """How often each item occurs in the training part."""
        items, offsets = self.interactions.items, self.interactions.offsets
        trained = np.arange(len(items)) < np.repeat(self.split.train_end, np.diff(offsets))
        return torch.from_numpy(np.bincount(items[trained], minlength=len(self.interactions.item_ids) + 1)).float()

    def references(self) -> dict[str, Ranker]:
        """What a model's test scores are read against."""
        return {"popularity": self._popularity}

    def _popularity(self, batch: Batch) -> Ranks:
        assert batch.candidates is not None
        counts = self.item_counts.to(batch.user.device)[:, None]  # (V, 1)
        return rank_targets(counts.new_ones(len(batch.user), 1), counts, None, batch.target, batch.candidates)

    def user_kinds(self) -> dict[str, Bool[np.ndarray, " U"]]:
        """What is known of the users beside their items: of a real log nothing."""
        return {}

    def train_dataloader(self) -> TrainingBatches:
        """All prefixes of the training part, or as few histories as hold it all."""
        process, num_processes = self._process_of_processes()
        require(
            self.batch_size % num_processes == 0,
            f"dataset.batch_size={self.batch_size}: must be a multiple of the {num_processes} processes that share it",
        )
        sequences = self._sequences()
        examples = sequences.windows() if self.all_positions else sequences.prefixes()
        batches = TrainingBatches(
            sequences,
            examples,
            self.batch_size,
            self.seed,
            self.full_length,
            process,
            num_processes,
            self.width_multiple,
        )
        enough = len(batches.seq_len) >= num_processes
        require(enough, "no user has two items to train on before those that are held out")
        return batches

    def val_dataloader(self) -> EvaluationBatches:
        """The items to validate with."""
        return self._held_out(self.split.validation, Stream.VALIDATION_NEGATIVES)

    def test_dataloader(self) -> EvaluationBatches:
        """The items to test with, those of validation being part of the history."""
        return self._held_out(self.split.test, Stream.TEST_NEGATIVES)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Batches are made where they are used."""
        return batch

    def _held_out(self, held_out: HeldOut, stream: Stream) -> EvaluationBatches:
        sequences, (items, offsets, *_) = self._sequences(), self.interactions
        negatives = self.negatives.draw(items, offsets, self.spec.num_items, held_out, stream)
        seen, seen_bounds = map(torch.from_numpy, seen_before(held_out, self.interactions))
        tensors = (torch.from_numpy(array).to(sequences.items.device) for array in (*held_out, negatives))
        user, target_at, drawn = tensors
        return EvaluationBatches(
            sequences,
            sequences.examples(user, target_at),
            drawn,
            seen,
            seen_bounds,
            self.eval_batch_size,
            self.full_length,
            *self._process_of_processes(),
        )

    def _sequences(self) -> Sequences:
        items, offsets, *_ = self.interactions
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        places = None
        if self.shuffle_histories:
            places = torch.from_numpy(numpy_generator(self.seed, Stream.SHUFFLED_HISTORIES).random(len(items)))
        store = Sequences(
            torch.from_numpy(items),
            torch.from_numpy(offsets),
            torch.from_numpy(self.split.train_end),
            self.max_len,
            places,
        )
        return store.to(device)

    def _process_of_processes(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
