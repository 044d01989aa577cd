"""Examples equal lists in plain Python; laws of batches, epochs, processes and exact continuation."""

from collections.abc import Iterable
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adamct.batch import Batch, BatchNeeds
from datamodules.preprocessing import build_sequences
from datamodules.sequences import EvaluationBatches, Examples, Sequences, TrainingBatches
from datamodules.sources import read_log
from tests.conftest import composed

DATA = Path(__file__).parents[3] / "shared" / "data"
MAX_LEN, BATCH_SIZE = 12, 8

Ragged = list[list[int]]
Row = tuple[int, list[int], int]
"""A user, a history, a target."""
RAGGED = st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=12), min_size=1, max_size=8)


def store(users: Ragged, max_len: int = MAX_LEN) -> Sequences:
    items, lengths = torch.tensor([item for user in users for item in user]), torch.tensor([0, *map(len, users)])
    offsets = lengths.cumsum(0)
    return Sequences(items.int(), offsets, offsets[1:] - 2, max_len)


def held_out(sequences: Sequences, from_end: int) -> Examples:
    """Return each user's last item, or the one before."""
    ends = sequences.offsets[1:]
    return sequences.examples(torch.arange(len(ends), device=ends.device), ends - from_end)


def of_lengths(lengths: Iterable[int]) -> Ragged:
    """Return users with these numbers of items. All items differ, so a target identifies its example."""
    return [list(range(start, end)) for start, end in pairwise(np.cumsum([1, *lengths]).tolist())]


def with_examples(count: int, seed: int = 0) -> Ragged:
    """Return users with ``count`` training examples in all. Most users have few, some many."""
    counts = np.random.default_rng(seed).geometric(0.15, count)
    counts = counts[: int(np.searchsorted(counts.cumsum(), count))]
    return of_lengths(3 + int(number) for number in (*counts, count - counts.sum()))


def plain_training(users: Ragged, max_len: int = MAX_LEN) -> list[Row]:
    return [
        (user, items[:at][-max_len:], items[at]) for user, items in enumerate(users) for at in range(1, len(items) - 2)
    ]


def plain_held_out(users: Ragged, from_end: int, max_len: int = MAX_LEN) -> list[Row]:
    return [(user, items[:-from_end][-max_len:], items[-from_end]) for user, items in enumerate(users)]


def rows_of(batch: Batch) -> list[Row]:
    """Read a batch row by row, and assert that it is right-padded with 0."""
    rows = []
    for user, item_seq, seq_len, target in zip(*(field.tolist() for field in batch[:4]), strict=True):
        assert 1 <= seq_len <= len(item_seq)
        assert not any(item_seq[seq_len:])
        rows.append((user, item_seq[:seq_len], target))
    return rows


def epoch_of(batches: Iterable[Batch]) -> list[list[Row]]:
    return [rows_of(batch) for batch in batches]


def by_target(batches: Iterable[Iterable[Row]]) -> list[Row]:
    return sorted((row for rows in batches for row in rows), key=lambda row: row[2])


def training(count: int, seed: int = 0, process: int = 0, num_processes: int = 1) -> TrainingBatches:
    sequences = store(with_examples(count))
    return TrainingBatches(
        sequences,
        sequences.prefixes(),
        batch_size=BATCH_SIZE,
        seed=seed,
        needs=BatchNeeds(),
        process=process,
        num_processes=num_processes,
    )


@settings(deadline=None, max_examples=60)
@given(RAGGED, st.integers(1, 14))
def test_examples_equal_plain_lists(users: Ragged, max_len: int) -> None:
    sequences = store(users, max_len)
    for examples, expected in (
        (sequences.prefixes(), plain_training(users, max_len)),
        (held_out(sequences, 1), plain_held_out(users, 1, max_len)),
        (held_out(sequences, 2), plain_held_out(users, 2, max_len)),
    ):
        batch = sequences.batch(examples, max_len)
        assert batch.item_seq.shape == (len(expected), max_len)
        assert rows_of(batch) == expected


@settings(deadline=None, max_examples=60)
@given(RAGGED, st.integers(1, 14))
def test_shuffled_histories_are_the_kept_items_sorted_by_key(users: Ragged, max_len: int) -> None:
    plain = store(users, max_len)
    sort_keys = torch.from_numpy(np.random.default_rng(0).permutation(len(plain.items))).float()
    shuffled = Sequences(plain.items, plain.offsets, plain.train_end, max_len, sort_keys)
    for examples in (plain.prefixes(), held_out(plain, 1)):
        rows = rows_of(shuffled.batch(examples, max_len))
        for (user, history, target), at, length in zip(rows, examples.target_index, examples.seq_len, strict=True):
            kept = range(int(at - length), int(at))
            expected = [int(plain.items[index]) for index in sorted(kept, key=lambda index: float(sort_keys[index]))]
            assert (user, history, target) == (user, expected, int(plain.items[at]))


@pytest.mark.parametrize("shuffled", [True, False])
def test_each_item_of_a_batch_has_its_time(shuffled: bool) -> None:
    plain = store(with_examples(20))
    sort_keys = torch.rand(len(plain.items)) if shuffled else None
    times = 10 * plain.items.long()  # the items of all users differ
    sequences = Sequences(plain.items, plain.offsets, plain.train_end, MAX_LEN, sort_keys, times)
    batch = sequences.batch(sequences.prefixes(), MAX_LEN)
    assert batch.times is not None
    assert batch.times.equal(10 * batch.item_seq)


def test_a_shuffled_history_ends_with_any_item_equally_often() -> None:
    cfg = composed("dataset.shuffle_histories=true")
    shuffled, plain = instantiate(cfg.dataset), instantiate(composed().dataset)
    loaders = [data.test_dataloader() for data in (shuffled, plain)]
    rows = list(zip(*(chain(*(rows_of(batch) for batch, _ in loader)) for loader in loaders), strict=True))
    assert all(sorted(one[1]) == sorted(other[1]) for one, other in rows)
    expected = float(np.mean([1 / len(history) for (_, history, _), _ in rows]))
    found = float(np.mean([one[1][-1] == other[1][-1] for one, other in rows]))
    assert abs(found - expected) < 4 * (expected / len(rows)) ** 0.5


@settings(deadline=None, max_examples=60)
@given(RAGGED, st.integers(1, 5))
def test_windows_predict_each_item_but_the_first_once(users: Ragged, max_len: int) -> None:
    sequences = store(users, max_len)
    windows = rows_of(sequences.batch(sequences.windows(), max_len))
    predicted = sorted((user, item) for user, history, target in windows for item in (*history[1:], target))
    # A later window of a user begins with the last target of the previous window.
    assert predicted == sorted((user, item) for user, items in enumerate(users) for item in items[1:-2])
    assert set(map(str, windows)) <= set(map(str, plain_training(users, max_len)))


def test_held_out_items_are_not_training_targets() -> None:
    sequences = store([[5, 6, 7, 8]])
    assert rows_of(sequences.batch(held_out(sequences, 1), 3)) == [(0, [5, 6, 7], 8)]
    assert rows_of(sequences.batch(held_out(sequences, 2), 2)) == [(0, [5, 6], 7)]
    assert rows_of(sequences.batch(sequences.prefixes(), 1)) == [(0, [5], 6)]


@pytest.mark.parametrize("name", ["beauty", "sports", "toys"])
def test_real_files_have_the_papers_training_examples(name: str) -> None:
    if not DATA.exists():
        pytest.skip("the real data is not here")
    log = build_sequences(read_log(DATA / f"{name}.txt"), 5, 5)
    items, offsets = torch.from_numpy(log.items), torch.from_numpy(log.offsets)
    sequences = Sequences(items, offsets, offsets[1:] - 2, 50)
    seq_len = sequences.prefixes().seq_len
    assert len(seq_len) == {"beauty": 131_413, "sports": 189_543, "toys": 109_361}[name]
    assert (seq_len.min(), seq_len.max()) == (1, 50)


@pytest.mark.parametrize("multiple", [1, 5, 8, 20])
def test_widths_are_multiples_that_fit_the_longest_history(multiple: int) -> None:
    sequences = store(with_examples(300))
    widest = TrainingBatches(sequences, sequences.prefixes(), BATCH_SIZE, 0, BatchNeeds(width_multiple=multiple))
    for batch, tight in zip(widest, training(300), strict=True):
        longest = int(batch.seq_len.max())
        assert batch.item_seq.shape[1] == min(MAX_LEN, -(-longest // multiple) * multiple)
        assert rows_of(batch) == rows_of(tight)


@pytest.mark.parametrize("pad_to_max_len", [False, True])
@pytest.mark.parametrize("count", [1, BATCH_SIZE, 16 * BATCH_SIZE, 1001])
def test_an_epoch_is_every_training_example_once(count: int, pad_to_max_len: bool) -> None:
    users = with_examples(count)
    sequences = store(users)
    batches = TrainingBatches(sequences, sequences.prefixes(), BATCH_SIZE, 0, BatchNeeds(pad_to_max_len))
    epoch = list(batches)
    assert by_target(map(rows_of, epoch)) == plain_training(users)
    assert len(batches) == len(epoch) == -(-count // BATCH_SIZE)
    for batch in epoch:
        assert batch.item_seq.shape[1] == (MAX_LEN if pad_to_max_len else batch.seq_len.max())


def test_the_order_depends_on_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[list[Row]]:
        batches = training(500, seed)
        batches.set_epoch(epoch)
        return epoch_of(batches)

    orders = [order(seed, epoch) for seed, epoch in ((3, 0), (3, 1), (4, 0), (0, 3))]
    assert orders[0] == order(3, 0)
    assert all(one != other for at, one in enumerate(orders) for other in orders[:at])
    assert all(by_target(one) == by_target(orders[0]) for one in orders)
    members = [{frozenset(row[2] for row in rows) for rows in one} for one in orders]
    assert not members[0] & members[1]  # not only the order of the batches changes


def test_batches_have_similar_lengths_in_random_order() -> None:
    batches = training(2000)
    shuffled = batches.seq_len[torch.randperm(2000, generator=torch.Generator().manual_seed(0))]
    grouped = [batch.seq_len for batch in batches]
    assert padding(grouped) < 0.25 * padding(shuffled.split(BATCH_SIZE))
    mean_len = torch.stack([seq_len.double().mean() for seq_len in grouped])
    earlier = torch.corrcoef(torch.stack([mean_len, torch.arange(len(mean_len))]))[0, 1]
    neighbours = torch.corrcoef(torch.stack([mean_len[1:], mean_len[:-1]]))[0, 1]
    assert abs(earlier) < 0.3
    assert abs(neighbours) < 0.3


def padding(batches: Iterable[Tensor]) -> int:
    """Count the padding if every batch is as wide as its longest history."""
    return sum(int((seq_len.max() - seq_len).sum()) for seq_len in batches)


@pytest.mark.parametrize("num_processes", [1, 2, 3, 8])
@pytest.mark.parametrize("rest", range(BATCH_SIZE))
def test_processes_divide_the_steps_of_a_single_process(num_processes: int, rest: int) -> None:
    count = 40 * BATCH_SIZE + rest
    loaders = [training(count, 0, process, num_processes) for process in range(num_processes)]
    epochs = [epoch_of(loader) for loader in loaders]
    assert {len(loader) for loader in loaders} == {len(epoch) for epoch in epochs}
    steps = list(zip(*epochs, strict=True))
    for step in steps:
        sizes = [len(rows) for rows in step]
        assert min(sizes) > 0
        assert max(sizes) - min(sizes) <= 1
    dealt = by_target(rows for epoch in epochs for rows in epoch)
    assert len(dealt) == count - rest % num_processes
    whole = iter(plain_training(with_examples(count)))
    assert all(row in whole for row in dealt)  # each row once: `in` consumes the iterator
    alone = [rows for rows in epoch_of(training(count)) if len(rows) >= num_processes]
    for step, rows in zip(steps, alone, strict=True):
        assert all(row in rows for row in by_target(step))
        assert len(rows) - len(by_target(step)) < num_processes


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_saved_position_continues_with_exactly_the_rest(num_processes: int) -> None:
    def fresh() -> TrainingBatches:
        batches = training(150, 0, num_processes - 1, num_processes)
        batches.set_epoch(2)
        return batches

    whole, running = epoch_of(fresh()), fresh()
    iterator = iter(running)
    for position in range(len(whole) + 1):
        resumed = training(150, 0, num_processes - 1, num_processes)
        resumed.load_state_dict(running.state_dict())
        resumed.set_epoch(2)  # as the trainer does on resuming: keeps the position
        assert epoch_of(resumed) == whole[position:]
        next(iterator, None)
    assert next(iterator, None) is None


def test_another_epoch_begins_at_its_first_batch() -> None:
    batches = training(150)
    first = epoch_of(batches)
    batches.set_epoch(0)
    assert epoch_of(batches) == []  # still at the end of epoch 0
    batches.set_epoch(1)
    next(iter(batches))
    batches.set_epoch(0)
    assert epoch_of(batches) == first


@pytest.mark.parametrize("from_end", [1, 2])
@pytest.mark.parametrize("num_processes", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("pad_to_max_len", [False, True])
def test_every_user_is_evaluated_once_with_its_own_candidates(
    pad_to_max_len: bool, num_processes: int, from_end: int
) -> None:
    users = of_lengths(3 + (7 * user) % 16 for user in range(43))
    sequences = store(users)
    negatives = torch.arange(43 * 4, dtype=torch.int32).view(43, 4)
    counts = torch.arange(43)  # user u has had the items u to 2u - 1
    seen = torch.cat([torch.arange(user, 2 * user, dtype=torch.int32) for user in range(43)])
    bounds = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    found = []
    for process in range(num_processes):
        examples = held_out(sequences, from_end)
        loader = EvaluationBatches(
            sequences,
            examples,
            negatives=negatives,
            seen=seen,
            seen_bounds=bounds,
            batch_size=5,
            pad_to_max_len=pad_to_max_len,
            process=process,
            num_processes=num_processes,
        )
        batches = list(loader)
        assert len(loader) == len(batches)
        for batch, (negatives_of_batch, seen_of_batch) in batches:
            assert len(batch.user) <= 5
            assert batch.item_seq.shape[1] == (MAX_LEN if pad_to_max_len else batch.seq_len.max())
            assert negatives_of_batch.equal(negatives[batch.user].long())
            for row, user in enumerate(batch.user.tolist()):
                assert seen_of_batch.rows(row, row + 1).item.tolist() == list(range(user, 2 * user))
            found += rows_of(batch)
        assert [rows_of(batch) for batch, _ in loader] == [rows_of(batch) for batch, _ in batches]
    assert sorted(found) == plain_held_out(users, from_end)


def test_all_tensors_of_the_store_are_moved() -> None:
    users = with_examples(20)
    moved = store(users).to(torch.device("meta"))
    assert moved.max_len == MAX_LEN
    assert isinstance(held_out(moved, 1), Examples)
    assert {moved.items.device.type, moved.offsets.device.type, held_out(moved, 1).user.device.type} == {"meta"}
