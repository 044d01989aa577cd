"""The ragged store of all sequences, and the batches cut from it without a DataLoader.

The whole dataset is two integer tensors on the training device; a batch is one vectorised gather. Everything random
is a function of (seed, epoch), so the place in an epoch is all there is to save for an exact continuation.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adamct.batch import Batch, Candidates, Seen
from adamct.randomness import Stream, torch_generator

RUN = 32
"""Batches that are sorted by length together: long enough to save padding, short enough to stay random."""


class Examples(NamedTuple):
    """M items to predict; the history of each is what its user did before."""

    user: Int[Tensor, " M"]
    target_at: Int[Tensor, " M"]
    """Where the target stands in `Sequences.items`."""
    seq_len: Int[Tensor, " M"]
    """Items of history that are kept, from 1 to max_len."""

    def select(self, index: Int[Tensor, " B"]) -> "Examples":
        """The examples at some indices."""
        return Examples(self.user[index], self.target_at[index], self.seq_len[index])


class Sequences:
    """Every user's items in time order, one after the other.

    Args:
        items: (T,) ids from 1.
        offsets: (U + 1,) where each user's items begin; the last entry is T.
        train_end: (U,) where the training part of each user's items ends.
        max_len: the most recent items kept of a history.
        places: (T,) numbers by which the kept items of a history are ordered; None leaves them in time order.
    """

    def __init__(
        self,
        items: Int[Tensor, " T"],
        offsets: Int[Tensor, " bounds"],
        train_end: Int[Tensor, " U"],
        max_len: int,
        places: Float[Tensor, " T"] | None = None,
    ):
        self.items = items
        self.offsets = offsets
        self.train_end = train_end
        self.max_len = max_len
        self.places = places

    def to(self, device: torch.device) -> "Sequences":
        """The same store in another memory."""
        places = None if self.places is None else self.places.to(device)
        items, offsets, train_end = (tensor.to(device) for tensor in (self.items, self.offsets, self.train_end))
        return Sequences(items, offsets, train_end, self.max_len, places)

    def prefixes(self) -> Examples:
        """Every item of the training part that has a history."""
        start = self.offsets[:-1]
        count = (self.train_end - start - 1).clamp(min=0)
        user = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        rank_in_user = torch.arange(len(user), device=count.device) - torch.repeat_interleave(
            count.cumsum(0) - count, count
        )
        return self.examples(user, start[user] + 1 + rank_in_user)

    def windows(self) -> Examples:
        """The fewest prefixes whose kept histories and targets hold every item of the training part.

        Each user's longest, and from there every ``max_len``-th: each item but the first is then predicted once by a
        model that predicts at all positions.
        """
        prefixes = self.prefixes()
        from_longest = self.train_end[prefixes.user] - 1 - prefixes.target_at
        return prefixes.select((from_longest % self.max_len == 0).nonzero()[:, 0])

    def examples(self, user: Int[Tensor, " M"], target_at: Int[Tensor, " M"]) -> Examples:
        """Some items with their histories."""
        return Examples(user, target_at, (target_at - self.offsets[user]).clamp(max=self.max_len))

    def batch(self, examples: Examples, width: int, candidates: Candidates | None = None) -> Batch:
        """Gather B histories, right-padded with 0 to ``width``."""
        position = torch.arange(width, device=self.items.device)
        first = examples.target_at - examples.seq_len
        # Rows shorter than the width read beyond their end: clamped into the store, then overwritten by padding.
        index = (first[:, None] + position).clamp(max=len(self.items) - 1)
        padding = position >= examples.seq_len[:, None]
        if self.places is not None:
            index = index.gather(1, self.places[index].masked_fill(padding, torch.inf).argsort(1))
        item_seq = self.items[index].long().masked_fill(padding, 0)
        target = self.items[examples.target_at].long()
        return Batch(examples.user, item_seq, examples.seq_len, target, candidates)


class TrainingBatches:
    """Shuffled training batches of similar lengths, one epoch an iteration.

    Each epoch shuffles the examples, sorts runs of `RUN` batches by length, cuts them and shuffles the batches. With
    several processes every batch is dealt out among them, so the number of processes does not change what a step sees
    and no example is seen twice. Lightning calls ``sampler.set_epoch`` before each epoch, and keeps ``state_dict``, the
    place within an epoch, in checkpoints.

    Batches are as wide as their longest history, or the next multiple of ``width_multiple``, but at most ``max_len``.
    """

    def __init__(
        self,
        sequences: Sequences,
        examples: Examples,
        batch_size: int,
        seed: int,
        full_length: bool,
        process: int = 0,
        num_processes: int = 1,
        width_multiple: int = 1,
    ):
        self.sequences = sequences
        self.batch_size = batch_size
        self.seed = seed
        self.full_length = full_length
        self.process = process
        self.num_processes = num_processes
        self.width_multiple = width_multiple
        self.examples = examples
        self.seq_len = examples.seq_len.cpu()
        self.sampler = self
        self.epoch = 0
        self.position = 0

    def __len__(self) -> int:
        whole, rest = divmod(len(self.seq_len), self.batch_size)
        return max(1, whole + (rest >= self.num_processes))

    def plan(self) -> list[Int[Tensor, " b"]]:
        """This epoch's batches, as indices of examples on the CPU."""
        generator = torch_generator(self.seed, Stream.EPOCH_ORDER, self.epoch)
        order = torch.randperm(len(self.seq_len), generator=generator)
        batches = []
        for run in order.split(RUN * self.batch_size):
            batches += run[self.seq_len[run].argsort(stable=True)].split(self.batch_size)
        shuffled = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        # What cannot be dealt out evenly, of the one smaller batch, is left to another epoch.
        dealt = [index[: len(index) - len(index) % self.batch_size % self.num_processes] for index in shuffled]
        return [index for index in dealt if len(index)]

    def __iter__(self) -> Iterator[Batch]:
        plan = self.plan()
        widths = [self._width(int(self.seq_len[index].max())) for index in plan]
        mine = [index[self.process :: self.num_processes] for index in plan]
        # In one copy before the epoch: one before every step would make a GPU wait each time.
        on_device = torch.cat(mine).to(self.sequences.items.device).split([len(index) for index in mine])
        while self.position < len(plan):
            index, width = on_device[self.position], widths[self.position]
            self.position += 1
            yield self.sequences.batch(self.examples.select(index), width)

    def _width(self, longest: int) -> int:
        max_len = self.sequences.max_len
        return max_len if self.full_length else min(max_len, -(-longest // self.width_multiple) * self.width_multiple)

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch, unless already within it."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """The epoch and the next batch in it."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a saved place."""
        self.epoch, self.position = state["epoch"], state["position"]


class EvaluationBatches:
    """Held-out items with what they are ranked against, longest histories first, each user in one process only.

    Args:
        sequences: where the histories are.
        examples: the held-out items.
        negatives: of each.
        seen: the distinct items that each user had before, end to end.
        seen_bounds: where those of each example begin and end, on the CPU.
        batch_size: users in a batch.
        full_length: whether batches are as wide as ``max_len`` rather than as their longest history.
        process: this process, from 0.
        num_processes: how many share the users.
    """

    def __init__(
        self,
        sequences: Sequences,
        examples: Examples,
        negatives: Int[Tensor, "M C"],
        seen: Int[Tensor, " P"],
        seen_bounds: Int[Tensor, " bounds"],
        batch_size: int,
        full_length: bool,
        process: int = 0,
        num_processes: int = 1,
    ):
        seq_len, device = examples.seq_len.cpu(), sequences.items.device
        mine = seq_len.argsort(descending=True, stable=True)[process::num_processes]
        self.widths = [
            sequences.max_len if full_length else longest for longest in seq_len[mine[::batch_size]].tolist()
        ]
        self.batches = mine.to(device).split(batch_size) if len(mine) else ()
        self.sequences = sequences
        self.examples = examples
        self.negatives = negatives
        self.seen = in_order(seen.to(device), seen_bounds, mine)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for number, (index, width) in enumerate(zip(self.batches, self.widths, strict=True)):
            first = number * self.batch_size
            seen = self.seen.rows(first, first + len(index))
            candidates = Candidates(self.negatives[index].long(), seen._replace(item=seen.item.long()))
            yield self.sequences.batch(self.examples.select(index), width, candidates)


def in_order(items: Int[Tensor, " P"], bounds: Int[Tensor, " bounds"], order: Int[Tensor, " m"]) -> Seen:
    """Line up some of the sets ``items[bounds[m] : bounds[m + 1]]`` in another order; ``bounds`` are on the CPU."""
    counts = bounds.diff()[order]
    row = torch.arange(len(order)).repeat_interleave(counts)
    new_bounds = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    place = torch.arange(len(row)) + (bounds[order] - new_bounds[:-1])[row]
    return Seen(items[place.to(items.device)], row.to(items.device), new_bounds)
