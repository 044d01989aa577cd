"""The laws of every data module."""

from itertools import pairwise

import numpy as np
import pytest
from hydra.utils import instantiate

from adamct.dataset import Dataset
from datamodules.base import SequenceDataModule
from datamodules.splits import GlobalTime, LeaveOneOut, Splitter
from tests.conftest import TINY, composed


def test_a_data_module_is_a_dataset() -> None:
    data: SequenceDataModule = instantiate(composed().dataset)
    dataset: Dataset = data  # pyright compares the signatures
    assert isinstance(dataset, Dataset)


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
