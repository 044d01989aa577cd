"""The laws of every data module."""

from pathlib import Path

import pytest
from hydra.utils import instantiate

from adamct.batch import BatchNeeds
from adamct.dataset import Dataset
from datamodules.base import SequenceDataModule
from tests.conftest import composed
from tests.datamodules.small_logs import SMALL


def test_a_data_module_is_a_dataset() -> None:
    data: SequenceDataModule = instantiate(composed().dataset)
    dataset: Dataset = data  # pyright compares the signatures
    assert isinstance(dataset, Dataset)


@pytest.mark.parametrize("has_times", [True, False])
def test_batches_have_times_if_needed_and_known(has_times: bool, tmp_path: Path) -> None:
    log = tmp_path / ("log.csv" if has_times else "log.txt")
    users = {"ann": range(1, 9), "bob": range(9, 17)}
    rows = [f"{user},{item},{item}" for user, items in users.items() for item in items]
    orders = [f"{user} {' '.join(map(str, items))}" for user, items in users.items()]
    log.write_text("\n".join(["user,item,timestamp", *rows] if has_times else orders))
    data = instantiate(composed(*SMALL, f"dataset.path={log}", f"data_dir={tmp_path}").dataset)
    assert data.spec.has_times == has_times
    for needed in (True, False):
        data.adapt_batches(BatchNeeds(times=needed))
        for batch in (*data.train_dataloader(), *(batch.histories for batch in data.test_dataloader())):
            assert (batch.times is not None) == (needed and has_times)
