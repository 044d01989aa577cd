"""The laws of every data module."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from adamct.batch import BatchNeeds
from adamct.dataset import Dataset
from adamct.errors import InputError
from datamodules.base import SequenceDataModule
from datamodules.splits import GlobalTime, LeaveOneOut, Splitter
from tests.conftest import TINY, composed
from tests.datamodules.small_logs import SMALL


def test_a_data_module_is_a_dataset() -> None:
    data: SequenceDataModule = instantiate(composed().dataset)
    dataset: Dataset = data  # pyright compares the signatures
    assert isinstance(dataset, Dataset)


def of_two_users(folder: Path, has_times: bool, *overrides: str) -> SequenceDataModule:
    """Build a dataset of eight items of each of two users, whose times are fractions of a unit."""
    log = folder / ("log.csv" if has_times else "log.txt")
    users = {"ann": range(1, 9), "bob": range(9, 17)}
    rows = [f"{user},{item},{item + 0.25}" for user, items in users.items() for item in items]
    orders = [f"{user} {' '.join(map(str, items))}" for user, items in users.items()]
    log.write_text("\n".join(["user,item,timestamp", *rows] if has_times else orders))
    return instantiate(composed(*SMALL, f"dataset.path={log}", f"data_dir={folder}", *overrides).dataset)


@pytest.mark.parametrize("has_times", [True, False])
def test_batches_have_whole_times_if_needed_and_known(has_times: bool, tmp_path: Path) -> None:
    data = of_two_users(tmp_path, has_times)
    assert data.spec.has_times == has_times
    for needed in (True, False):
        data.adapt_batches(BatchNeeds(times=needed))
        for batch in (*data.train_dataloader(), *(batch.histories for batch in data.test_dataloader())):
            assert (batch.times is not None) == (needed and has_times)
            if batch.times is not None:
                item_ids = torch.tensor([0, *map(int, data.item_ids)])
                assert batch.times.equal(item_ids[batch.item_seq])


def test_shuffled_histories_have_no_times(tmp_path: Path) -> None:
    data = of_two_users(tmp_path, True, "dataset.shuffle_histories=true")
    assert not data.spec.has_times
    data.adapt_batches(BatchNeeds(times=True))
    assert all(batch.times is None for batch in data.train_dataloader())


def test_shuffled_histories_have_no_item_at_each_position(tmp_path: Path) -> None:
    data = of_two_users(tmp_path, True, "dataset.shuffle_histories=true")
    with pytest.raises(InputError, match=r"dataset.shuffle_histories=true: .*model.all_positions=false"):
        data.adapt_batches(BatchNeeds(all_positions=True))


@pytest.mark.parametrize("splitter", [LeaveOneOut(), GlobalTime(6, 8)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_training_part_is_what_comes_before_the_held_out_items(splitter: Splitter, shuffle: bool) -> None:
    data = instantiate(composed(*TINY, f"dataset.shuffle_histories={shuffle}").dataset)
    data.splitter = splitter
    items, offsets = data.spec.training
    bounds = zip(data.interactions.offsets, data.split.train_end, strict=False)
    expected = [data.interactions.items[begin:end].tolist() for begin, end in bounds]
    actual = [items[begin:end].tolist() for begin, end in pairwise(offsets)]
    assert [sorted(part) for part in actual] == [sorted(part) for part in expected]
    assert (actual == expected) != shuffle
    assert data.spec.item_counts.tolist() == np.bincount(items, minlength=data.spec.num_items + 1).tolist()
