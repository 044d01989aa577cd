"""The cache of prepared data: built once, whole or not at all, never changed by its readers; and its source file."""

import time
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
import pytest

from adamct.errors import InputError
from datamodules.cache import load_or_build
from datamodules.preprocessing import Interactions
from tests.datamodules.caches import FACTS, assert_equal, log_data, names, never, three_users


def ask_at_once(number: int, barrier: Barrier, folder: Path) -> None:
    def build() -> Interactions:
        (folder / f"built_by_{number}").touch()
        time.sleep(0.3)  # long enough for the other processes to ask
        return three_users()

    barrier.wait(timeout=60)
    found = load_or_build(folder / "cache", FACTS, build).interactions
    np.savez(folder / f"found_by_{number}.npz", items=found.items, offsets=found.offsets)


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("before", ["nothing", "damaged"])
def test_eight_concurrent_processes_build_once(tmp_path: Path, before: str) -> None:
    if before == "damaged":
        load_or_build(tmp_path / "cache", FACTS, three_users)
        next(tmp_path.glob("cache/*/items.*")).write_bytes(b"")
    context = get_context("forkserver")  # a new interpreter as with spawn, but the libraries are imported once
    context.set_forkserver_preload(["pytest", "adamct.evaluation.metrics", "datamodules.cache"])
    barrier = context.Barrier(8)
    processes = [context.Process(target=ask_at_once, args=(number, barrier, tmp_path)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 8
    assert len(list(tmp_path.glob("built_by_*"))) == 1
    found = [np.load(path) for path in tmp_path.glob("found_by_*")]
    assert len(found) == 8
    expected = three_users()
    assert all(np.array_equal(arrays["items"], expected.items) for arrays in found)
    assert all(np.array_equal(arrays["offsets"], expected.offsets) for arrays in found)


def test_a_built_entry_is_read_and_not_built_again(tmp_path: Path) -> None:
    assert_equal(load_or_build(tmp_path / "new" / "folder", FACTS, three_users), three_users())
    assert_equal(load_or_build(tmp_path / "new" / "folder", FACTS, never), three_users())


@pytest.mark.parametrize("other", [{"sha256": "1" * 64}, {"min_user": 4}, {"columns": [None, None, None]}])
def test_other_facts_are_another_entry(tmp_path: Path, other: dict[str, object]) -> None:
    load_or_build(tmp_path, FACTS, three_users)
    assert_equal(load_or_build(tmp_path, FACTS | other, lambda: three_users(50)), three_users(50))
    assert_equal(load_or_build(tmp_path, FACTS, never), three_users())


@pytest.mark.parametrize("failing", ["build", "write"])
def test_a_failed_build_leaves_no_files(tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        if failing == "write":
            patch.setattr(Path, "write_text", fail)  # the last file of an entry
        with pytest.raises((OSError, InputError), match="the disk is full"):
            load_or_build(tmp_path, FACTS, fail if failing == "build" else three_users)
    assert all(name.endswith(".lock") for name in names(tmp_path))
    assert_equal(load_or_build(tmp_path, FACTS, three_users), three_users())


def test_writing_to_mapped_arrays_does_not_change_the_file(tmp_path: Path) -> None:
    load_or_build(tmp_path, FACTS, three_users)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    before = [path.read_bytes() for path in files]
    found = load_or_build(tmp_path, FACTS, never).interactions
    for array in found[:3]:
        assert isinstance(array, np.memmap)
        array[:] = 99
        array.flush()
    assert [path.read_bytes() for path in files] == before
    assert_equal(load_or_build(tmp_path, FACTS, never), three_users())


def test_training_reads_the_mapped_file_without_a_copy(tmp_path: Path, log: Path) -> None:
    """A second process then needs no memory for the data."""
    module = log_data(tmp_path, log, batch_size=1)
    batches = module.train_dataloader()
    assert len(list(batches)) == 1
    mapped = module.interactions.items
    assert isinstance(mapped, np.memmap)
    assert batches.sequences.items.data_ptr() == mapped.ctypes.data
    maps = Path("/proc/self/smaps")
    if maps.exists():
        (entry,) = (tmp_path / "cache").glob("*/items.*")
        _, _, facts = maps.read_text().partition(str(entry))
        # Anonymous pages are those that were written, and so copied.
        assert facts.partition("Anonymous:")[2].split()[0] == "0"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.txt"
    path.write_text("ann x y z\nbob y z w x\n")
    return path


def test_a_file_with_the_expected_counts_becomes_sequences(tmp_path: Path, log: Path) -> None:
    module = log_data(tmp_path, log, expect=(7, 2, 4))
    assert module.interactions.items.tolist() == [1, 2, 3, 2, 3, 4, 1]
    assert module.interactions.offsets.tolist() == [0, 3, 7]
    assert module.spec[:3] == (4, 2, 5)
    assert module.spec.item_counts.tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("expected", [(6, 2, 4), (7, 3, 4), (7, 2, 12101)])
def test_unexpected_counts_are_an_error_with_both_counts(
    tmp_path: Path, log: Path, expected: tuple[int, int, int]
) -> None:
    with pytest.raises(InputError) as refused:
        _ = log_data(tmp_path, log, expected).interactions
    for counts in ((7, 2, 4), expected):
        assert "{:,} interactions of {:,} users with {:,} items".format(*counts) in str(refused.value)
    assert str(log) in str(refused.value)
    assert "dataset.expect" in str(refused.value)


def test_a_missing_path_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.path"):
        log_data(tmp_path, None)


def test_a_changed_file_is_read_again(tmp_path: Path, log: Path) -> None:
    before = log_data(tmp_path, log)
    assert before.spec.num_users == 2
    fingerprint = before.fingerprint
    log.write_text("ann x y z\nbob y z w x\ncat z z z\n")
    after = log_data(tmp_path, log)
    assert after.spec.num_users == 3
    assert after.fingerprint != fingerprint


def test_other_filters_of_the_same_file_are_another_entry(tmp_path: Path, log: Path) -> None:
    assert log_data(tmp_path, log).spec.num_users == 2
    assert log_data(tmp_path, log, min_user=4).spec.num_users == 1
    assert log_data(tmp_path, log).spec.num_users == 2


def test_a_renamed_file_of_another_format_is_read_again(tmp_path: Path) -> None:
    """The name decides the format, but the hash of the content does not include the name."""
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "log.csv").write_text("user item timestamp\nann,x,1\nann,y,2\nann,z,3\n".replace(" ", ","))
    assert log_data(tmp_path, folder).spec.num_users == 1
    (folder / "log.csv").rename(folder / "log.txt")
    with pytest.raises(InputError, match=r"log\.txt"):
        _ = log_data(tmp_path, folder).interactions


@pytest.mark.parametrize("path", ["", "*"], ids=["folder", "pattern"])
def test_a_log_does_not_include_the_cache_in_its_folder(tmp_path: Path, log: Path, path: str) -> None:
    for _ in range(2):
        data = log_data(log.parent, log.parent / path)
        assert data.spec.num_users == 2
    assert (log.parent / "cache").is_dir()


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache would otherwise store the new data under the hash of the old file."""
    from datamodules import log as module
    from datamodules.sources import read_log

    def read_while_written(path: Path, *settings: Any) -> pl.DataFrame:
        path.write_text("ann x y z\nbob y z w x\ncat z z z\n")
        return read_log(path, *settings)

    before = log.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_log", read_while_written)
        with pytest.raises(InputError, match=r"log\.txt: changed while it was read"):
            _ = log_data(tmp_path, log).interactions
    assert log_data(tmp_path, log).spec.num_users == 3
    log.write_text(before)
    assert log_data(tmp_path, log).spec.num_users == 2
