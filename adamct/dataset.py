"""The interface between this package and a dataset."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool

from adamct.batch import BatchNeeds, DataSpec, EvaluationBatch, HeldOutStatistics, Ranks, Statistics, TestFacts

Ranker: TypeAlias = Callable[[EvaluationBatch], Ranks]
"""Ranks the targets of an evaluation batch."""


@runtime_checkable
class Dataset(Protocol):
    """A dataset that models are trained and tested on."""

    @property
    def spec(self) -> DataSpec:
        """The facts that a model is built from."""
        ...

    @property
    def identity(self) -> dict[str, object]:
        """The facts that a checkpoint must agree on, by their config keys."""
        ...

    @property
    def user_ids(self) -> Sequence[str]:
        """The original id of each user, in the order of their numbers from 0."""
        ...

    @property
    def item_ids(self) -> Sequence[str]:
        """The original id of each item: position i - 1 for item i."""
        ...

    @property
    def num_negatives(self) -> int:
        """The number of negatives in the sampled ranking."""
        ...

    @property
    def statistics(self) -> Statistics:
        """The dataset's row of the paper's Table 1."""
        ...

    @property
    def held_out(self) -> HeldOutStatistics:
        """The number of held-out items, their times and their ties."""
        ...

    @property
    def source_sha256(self) -> str | None:
        """The SHA-256 of the source files; None if there are none."""
        ...

    @property
    def longest_history(self) -> int:
        """The number of items in the longest history that a model reads."""
        ...

    def adapt_batches(self, needs: BatchNeeds) -> None:
        """Make the batches of all dataloaders as a model needs them."""
        ...

    def test_dataloader(self) -> Iterable[EvaluationBatch]:
        """Return the test batches."""
        ...

    def test_facts(self) -> TestFacts:
        """Return facts about the test item of each user."""
        ...

    def references(self) -> dict[str, Ranker]:
        """Return rankers that only this dataset has, by their names; models are compared with them."""
        ...

    def user_kinds(self) -> dict[str, Bool[np.ndarray, " U"]]:
        """Return which users are of each hidden kind; empty if the kinds are unknown."""
        ...
