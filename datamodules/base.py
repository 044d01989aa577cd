"""The data module that all datasets share: the examples of a split, negatives, batches on the training device."""

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from adamct.batch import BatchNeeds, DataSpec, HeldOutStatistics, Statistics, TestFacts, TrainingPart
from adamct.dataset import Ranker
from adamct.errors import require
from adamct.randomness import Stream, numpy_generator
from adamct.values import Checked, PositiveInt, Seed
from datamodules.fingerprint import Prepared, fingerprint
from datamodules.negatives import UniformNegatives
from datamodules.preprocessing import Interactions, statistics
from datamodules.sequences import EvaluationBatches, Sequences, TrainingBatches
from datamodules.splits import HeldOut, Split, Splitter, seen_before
from datamodules.ties import held_out_statistics


class SequenceDataModule(Checked, pl.LightningDataModule):
    """A dataset of user sequences, split into a training, a validation and a test part.

    Args:
        splitter: divides the sequences into their parts.
        max_len: the number of most recent items that are kept of a history.
        batch_size: the training examples of a step, over all processes.
        eval_batch_size: the users in an evaluation batch.
        negatives: draws the items of the sampled ranking.
        seed: determines the order of training examples and of shuffled histories.
        shuffle_histories: whether the kept items of a history are in a random order, the same in every epoch. A model
            then has no order to learn.
    """

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
        self.needs = BatchNeeds()

    def adapt_batches(self, needs: BatchNeeds) -> None:
        """Make the batches of all dataloaders as a model needs them. Call it before the first dataloader is made.

        Raises:
            InputError: histories are shuffled, and the model predicts all of their items.
        """
        require(
            not (needs.all_positions and self.shuffle_histories),
            "dataset.shuffle_histories=true: the next item is unknown within a shuffled history; give "
            "model.all_positions=false",
        )
        self.needs = needs

    @cached_property
    def prepared(self) -> Prepared:
        """The prepared sequences, which are loaded on first use."""
        return self.load()

    @abstractmethod
    def load(self) -> Prepared:
        """Load the users' sequences. Interactions of the same time are in the order of the data."""

    @cached_property
    def interactions(self) -> Interactions:
        """The users' sequences in the order of training."""
        return self.prepared.interactions

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the prepared sequences: results with equal fingerprints are comparable."""
        return fingerprint(self.prepared.digests, self.has_times)

    @property
    def source_sha256(self) -> str | None:
        """The SHA-256 of the source files; None if there are none."""
        return None

    @property
    def identity(self) -> dict[str, object]:
        """The facts that a checkpoint must agree on, by their config keys."""
        return {"sha256": self.fingerprint}

    @property
    def has_times(self) -> bool:
        """Whether the data has the time of each interaction, not only the order of each user's interactions."""
        return False

    @cached_property
    def split(self) -> Split:
        """The parts of the sequences."""
        return self.splitter.split(self.interactions)

    @property
    def spec(self) -> DataSpec:
        """The facts that a model is built from."""
        num_items, num_users = len(self.interactions.item_ids), len(self.interactions.user_ids)
        has_times = self.has_times and not self.shuffle_histories  # times would tell the order
        return DataSpec(num_items, num_users, self.max_len, self.item_counts, self.training, has_times)

    @property
    def user_ids(self) -> list[str]:
        """The original id of each user, in the order of their numbers from 0."""
        return self.interactions.user_ids.to_list()

    @property
    def item_ids(self) -> list[str]:
        """The original id of each item: position i - 1 for item i."""
        return self.interactions.item_ids.to_list()

    @property
    def num_negatives(self) -> int:
        """The number of negatives in the sampled ranking."""
        return self.negatives.count

    def test_facts(self) -> TestFacts:
        """Return facts about the test item of each user; 0 for users without one."""
        user, target_index = self.split.test
        facts = np.zeros((2, self.spec.num_users), np.int64)
        facts[:, user] = (
            self.item_counts.numpy()[self.interactions.items[target_index]],
            target_index - self.interactions.offsets[user],
        )
        return TestFacts(*facts)

    @property
    def longest_history(self) -> int:
        """The number of items in the longest history that a model reads. The item after it is the target."""
        return min(self.max_len, int(np.diff(self.interactions.offsets).max()) - 1)

    @property
    def statistics(self) -> Statistics:
        """The dataset's row of the paper's Table 1."""
        return statistics(self.interactions)

    @property
    def held_out(self) -> HeldOutStatistics:
        """The number of held-out items, their times and their ties."""
        return held_out_statistics(self.interactions, self.split, self.has_times)

    @cached_property
    def item_counts(self) -> Float[Tensor, " V"]:
        """The occurrences of each item in the training part."""
        num_items = len(self.interactions.item_ids)
        return torch.from_numpy(np.bincount(self.training.items, minlength=num_items + 1)).float()

    @cached_property
    def training(self) -> TrainingPart:
        """The training part of all users, in the order of their histories."""
        items, offsets, train_end = self.interactions.items, self.interactions.offsets, self.split.train_end
        user = np.repeat(np.arange(len(train_end)), np.diff(offsets))
        index = np.flatnonzero(np.arange(len(items)) < train_end[user])
        if self.sort_keys is not None:
            index = index[np.lexsort((self.sort_keys[index], user[index]))]
        return TrainingPart(items[index], np.append(0, np.cumsum(train_end - offsets[:-1])))

    @cached_property
    def sort_keys(self) -> Float[np.ndarray, " T"] | None:
        """The numbers that the items of a shuffled history are sorted by; None keeps the order of the data."""
        if not self.shuffle_histories:
            return None
        return numpy_generator(self.seed, Stream.SHUFFLED_HISTORIES).random(len(self.interactions.items))

    def references(self) -> dict[str, Ranker]:
        """Return rankers that only this dataset has, by their names; models are compared with them."""
        return {}

    def user_kinds(self) -> dict[str, Bool[np.ndarray, " U"]]:
        """Return which users are of each hidden kind; empty, because the kinds of a real log are unknown."""
        return {}

    def train_dataloader(self) -> TrainingBatches:
        """Return the training batches: all prefixes of the training part, or few histories for `all_positions`."""
        process, num_processes = self._process()
        require(
            self.batch_size % num_processes == 0,
            f"dataset.batch_size={self.batch_size}: must be a multiple of the {num_processes} processes that share it",
        )
        sequences = self._sequences()
        batches = TrainingBatches(
            sequences,
            sequences.windows() if self.needs.all_positions else sequences.prefixes(),
            batch_size=self.batch_size,
            seed=self.seed,
            needs=self.needs,
            process=process,
            num_processes=num_processes,
        )
        enough = len(batches.seq_len) >= num_processes
        require(enough, "no user has two items to train on before those that are held out")
        return batches

    def val_dataloader(self) -> EvaluationBatches:
        """Return the validation items with their candidates."""
        return self.evaluation_batches(self.split.validation, Stream.VALIDATION_NEGATIVES)

    def test_dataloader(self) -> EvaluationBatches:
        """Return the test items with their candidates. The history includes the validation item."""
        return self.evaluation_batches(self.split.test, Stream.TEST_NEGATIVES)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return the batch, which was made on its device."""
        return batch

    def evaluation_batches(self, held_out: HeldOut, stream: Stream) -> EvaluationBatches:
        """Return held-out items with their candidates.

        Args:
            held_out: the items.
            stream: the randomness of their negatives.
        """
        sequences, (items, offsets, *_) = self._sequences(), self.interactions
        negatives = self.negatives.draw(items, offsets, self.spec.num_items, held_out, stream)
        seen, seen_bounds = map(torch.from_numpy, seen_before(held_out, self.interactions))
        arrays = (*held_out, negatives)
        user, target_index, negatives = (torch.from_numpy(array).to(sequences.items.device) for array in arrays)
        process, num_processes = self._process()
        return EvaluationBatches(
            sequences,
            sequences.examples(user, target_index),
            negatives=negatives,
            seen=seen,
            seen_bounds=seen_bounds,
            batch_size=self.eval_batch_size,
            pad_to_max_len=self.needs.pad_to_max_len,
            process=process,
            num_processes=num_processes,
        )

    def _sequences(self) -> Sequences:
        items, offsets, times, *_ = self.interactions
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        sort_keys = None if self.sort_keys is None else torch.from_numpy(self.sort_keys)
        items, offsets, train_end = map(torch.from_numpy, (items, offsets, self.split.train_end))
        # Whole numbers stay exact in half precision.
        whole = torch.from_numpy(np.rint(times).astype(np.int64)) if self.needs.times and self.spec.has_times else None
        return Sequences(items, offsets, train_end, self.max_len, sort_keys, whole).to(device)

    def _process(self) -> tuple[int, int]:
        """Return the number of this process, and the number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
