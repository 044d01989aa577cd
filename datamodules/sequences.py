"""All sequences in one store, and the batches that are gathered from it without a DataLoader.

The whole dataset is two integer tensors on the training device, and a batch is one vectorised gather. All randomness
is a function of (seed, epoch), so the position within an epoch is the only state that a checkpoint needs.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adamct.batch import Batch, BatchNeeds, Candidates, EvaluationBatch, Seen
from adamct.randomness import Stream, torch_generator

BUCKET_BATCHES = 32
"""The batches of a bucket, whose examples are sorted by length: enough to save padding, few enough to stay random."""


class Examples(NamedTuple):
    """M items to predict. The history of each is the items of its user before it."""

    user: Int[Tensor, " M"]
    target_index: Int[Tensor, " M"]
    """The index of the target in `Sequences.items`."""
    seq_len: Int[Tensor, " M"]
    """The number of items that are kept of the history, from 1 to max_len."""

    def select(self, index: Int[Tensor, " B"]) -> "Examples":
        """Return the examples at some indices."""
        return Examples(self.user[index], self.target_index[index], self.seq_len[index])


class Sequences:
    """Every user's items in time order, concatenated.

    Args:
        items: (T,) ids from 1.
        offsets: (U + 1,) the index where each user's items begin; the last entry is T.
        train_end: (U,) the index where the training part of each user's items ends.
        max_len: the number of most recent items that are kept of a history.
        sort_keys: (T,) numbers that the kept items of a history are sorted by; None keeps their time order.
        times: (T,) the time of each item; None leaves the times out of batches.
    """

    def __init__(
        self,
        items: Int[Tensor, " T"],
        offsets: Int[Tensor, " bounds"],
        train_end: Int[Tensor, " U"],
        max_len: int,
        sort_keys: Float[Tensor, " T"] | None = None,
        times: Int[Tensor, " T"] | None = None,
    ):
        self.items = items
        self.offsets = offsets
        self.train_end = train_end
        self.max_len = max_len
        self.sort_keys = sort_keys
        self.times = times

    def to(self, device: torch.device) -> "Sequences":
        """Return the same sequences on a device."""
        sort_keys, times = (None if tensor is None else tensor.to(device) for tensor in (self.sort_keys, self.times))
        items, offsets, train_end = (tensor.to(device) for tensor in (self.items, self.offsets, self.train_end))
        return Sequences(items, offsets, train_end, self.max_len, sort_keys, times)

    def prefixes(self) -> Examples:
        """Return every item of the training part that has a history."""
        start = self.offsets[:-1]
        count = (self.train_end - start - 1).clamp(min=0)
        user = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        rank_in_user = torch.arange(len(user), device=count.device) - torch.repeat_interleave(
            count.cumsum(0) - count, count
        )
        return self.examples(user, start[user] + 1 + rank_in_user)

    def windows(self) -> Examples:
        """Return the fewest prefixes whose kept histories and targets cover every item of the training part.

        They are each user's longest prefix, and from there every ``max_len``-th. A model that predicts at all
        positions then predicts each item but the first once.
        """
        prefixes = self.prefixes()
        from_longest = self.train_end[prefixes.user] - 1 - prefixes.target_index
        return prefixes.select((from_longest % self.max_len == 0).nonzero()[:, 0])

    def examples(self, user: Int[Tensor, " M"], target_index: Int[Tensor, " M"]) -> Examples:
        """Return items with their histories."""
        return Examples(user, target_index, (target_index - self.offsets[user]).clamp(max=self.max_len))

    def batch(self, examples: Examples, width: int) -> Batch:
        """Gather B histories, right-padded with 0 to ``width``."""
        position = torch.arange(width, device=self.items.device)
        first = examples.target_index - examples.seq_len
        # Rows shorter than the width read beyond their end: clamped into the store, then overwritten by padding.
        index = (first[:, None] + position).clamp(max=len(self.items) - 1)
        padding = position >= examples.seq_len[:, None]
        if self.sort_keys is not None:
            index = index.gather(1, self.sort_keys[index].masked_fill(padding, torch.inf).argsort(1))
        item_seq = self.items[index].long().masked_fill(padding, 0)
        target = self.items[examples.target_index].long()
        times = None if self.times is None else self.times[index].masked_fill(padding, 0)
        return Batch(examples.user, item_seq, examples.seq_len, target, times)


class TrainingBatches:
    """Shuffled training batches of similar lengths. An iteration is one epoch.

    Each epoch shuffles the examples, sorts buckets of `BUCKET_BATCHES` batches by length, cuts them into batches and
    shuffles these. Several processes divide every batch among them. Their number therefore does not change the
    examples of a step, and each example is seen once.

    Lightning calls ``sampler.set_epoch`` before each epoch, and keeps ``state_dict``, the position within an epoch, in
    checkpoints.

    Args:
        sequences: the store of the histories.
        examples: the training examples.
        batch_size: the examples of a batch, over all processes.
        seed: determines the order of the examples.
        needs: the widths of the batches. A batch is as wide as its longest history, or the next multiple of
            ``width_multiple`` up to ``max_len``.
        process: the number of this process, from 0.
        num_processes: the number of processes.
    """

    def __init__(
        self,
        sequences: Sequences,
        examples: Examples,
        batch_size: int,
        seed: int,
        needs: BatchNeeds,
        process: int = 0,
        num_processes: int = 1,
    ):
        self.sequences = sequences
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self.needs = needs
        self.process = process
        self.num_processes = num_processes
        self.seq_len = examples.seq_len.cpu()
        self.sampler = self
        self.epoch = 0
        self.position = 0

    def __len__(self) -> int:
        whole, rest = divmod(len(self.seq_len), self.batch_size)
        return max(1, whole + (rest >= self.num_processes))

    def plan(self) -> list[Int[Tensor, " b"]]:
        """Return the batches of this epoch, as indices of examples on the CPU."""
        generator = torch_generator(self.seed, Stream.EPOCH_ORDER, self.epoch)
        order = torch.randperm(len(self.seq_len), generator=generator)
        batches = []
        for bucket in order.split(BUCKET_BATCHES * self.batch_size):
            batches += bucket[self.seq_len[bucket].argsort(stable=True)].split(self.batch_size)
        shuffled = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        # The smaller batch may have a rest that cannot be divided evenly. It is left to another epoch.
        divisible = [index[: len(index) - len(index) % self.batch_size % self.num_processes] for index in shuffled]
        return [index for index in divisible if len(index)]

    def __iter__(self) -> Iterator[Batch]:
        plan = self.plan()
        widths = [self._width(int(self.seq_len[index].max())) for index in plan]
        own = [index[self.process :: self.num_processes] for index in plan]
        # One copy before the epoch: a copy before every step would make a GPU wait each time.
        on_device = torch.cat(own).to(self.sequences.items.device).split([len(index) for index in own])
        while self.position < len(plan):
            index, width = on_device[self.position], widths[self.position]
            self.position += 1
            yield self.sequences.batch(self.examples.select(index), width)

    def _width(self, longest: int) -> int:
        max_len, multiple = self.sequences.max_len, self.needs.width_multiple
        return max_len if self.needs.pad_to_max_len else min(max_len, -(-longest // multiple) * multiple)

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch, unless it is the current one."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the position of its next batch."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a saved position."""
        self.epoch, self.position = state["epoch"], state["position"]


class EvaluationBatches:
    """Held-out items with their candidates, longest histories first. Each user is in one process only.

    Args:
        sequences: the store of the histories.
        examples: the held-out items.
        negatives: the negatives of each example.
        seen: the distinct items that each user had before, concatenated.
        seen_bounds: the indices where the seen items of each example begin and end, on the CPU.
        batch_size: the users in a batch.
        pad_to_max_len: whether batches are as wide as ``max_len`` rather than as their longest history.
        process: the number of this process, from 0.
        num_processes: the number of processes that share the users.
    """

    def __init__(
        self,
        sequences: Sequences,
        examples: Examples,
        negatives: Int[Tensor, "M C"],
        seen: Int[Tensor, " P"],
        seen_bounds: Int[Tensor, " bounds"],
        batch_size: int,
        pad_to_max_len: bool,
        process: int = 0,
        num_processes: int = 1,
    ):
        seq_len, device = examples.seq_len.cpu(), sequences.items.device
        own = seq_len.argsort(descending=True, stable=True)[process::num_processes]
        longest = seq_len[own[::batch_size]].tolist()
        self.widths = [sequences.max_len] * len(longest) if pad_to_max_len else longest
        self.batches = own.to(device).split(batch_size) if len(own) else ()
        self.sequences = sequences
        self.examples = examples
        self.negatives = negatives
        self.seen = select_seen(seen.to(device), seen_bounds, own)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[EvaluationBatch]:
        for number, (index, width) in enumerate(zip(self.batches, self.widths, strict=True)):
            first = number * self.batch_size
            seen = self.seen.rows(first, first + len(index))
            candidates = Candidates(self.negatives[index].long(), seen._replace(item=seen.item.long()))
            yield EvaluationBatch(self.sequences.batch(self.examples.select(index), width), candidates)


def select_seen(items: Int[Tensor, " P"], bounds: Int[Tensor, " bounds"], index: Int[Tensor, " m"]) -> Seen:
    """Select the sets ``items[bounds[i] : bounds[i + 1]]`` at some indices, in their order.

    Args:
        items: all sets, concatenated.
        bounds: the indices where each set begins and ends, on the CPU.
        index: the sets to select, on the CPU.
    """
    counts = bounds.diff()[index]
    row = torch.arange(len(index)).repeat_interleave(counts)
    new_bounds = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    source = torch.arange(len(row)) + (bounds[index] - new_bounds[:-1])[row]
    return Seen(items[source.to(items.device)], row.to(items.device), new_bounds)
