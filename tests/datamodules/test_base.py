"""The laws of every data module."""

from hydra.utils import instantiate

from adamct.dataset import Dataset
from datamodules.base import SequenceDataModule
from tests.conftest import composed


def test_a_data_module_is_a_dataset() -> None:
    data: SequenceDataModule = instantiate(composed().dataset)
    dataset: Dataset = data  # pyright compares the signatures
    assert isinstance(dataset, Dataset)
