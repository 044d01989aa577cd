"""Prepared data on disk: built once, whole or not at all, never changed by its readers; and the file it comes from."""

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
from datamodules.fingerprint import Prepared, contents, digests
from datamodules.preprocessing import Interactions

# The eight processes import this file: datamodules.log, which takes seconds, is imported where it is used.

FACTS: dict[str, object] = {"sha256": "0" * 64, "min_user": 5}


def three_users(first: int = 1) -> Interactions:
    items = np.arange(first, first + 12, dtype=np.int32)
    user_ids, item_ids = pl.Series("user", ["a", "b", "c"]), pl.Series("item", [f"i{item}" for item in items])
    return Interactions(items, np.array([0, 3, 7, 12]), np.arange(12) * 0.5, user_ids, item_ids)


def never() -> NoReturn:
    raise AssertionError("built again")


def assert_equal(prepared: Prepared, expected: Interactions) -> None:
    found = prepared.interactions
    assert prepared.digests == digests(contents(expected))
    for mine, theirs in zip(found[:3], expected[:3], strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert [ids.to_list() for ids in found[3:]] == [ids.to_list() for ids in expected[3:]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def ask_at_once(number: int, barrier: Barrier, folder: Path) -> None:
    def build() -> Interactions:
        (folder / f"built_by_{number}").touch()
        time.sleep(0.3)  # long enough for the others to come
        return three_users()

    barrier.wait(timeout=60)
    found = load_or_build(folder / "cache", FACTS, build).interactions
    np.savez(folder / f"found_by_{number}.npz", items=found.items, offsets=found.offsets)


@pytest.mark.parametrize("before", ["nothing", "damaged"])
def test_eight_processes_at_once_build_once(tmp_path: Path, before: str) -> None:
    if before == "damaged":
        load_or_build(tmp_path / "cache", FACTS, three_users)
        next(tmp_path.glob("cache/*/items.*")).write_bytes(b"")
    context = get_context("forkserver")  # as cold as spawn, but the libraries are imported once
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


def test_what_was_built_is_found_again_whole_and_not_built_twice(tmp_path: Path) -> None:
    assert_equal(load_or_build(tmp_path / "new" / "folder", FACTS, three_users), three_users())
    assert_equal(load_or_build(tmp_path / "new" / "folder", FACTS, never), three_users())


@pytest.mark.parametrize("other", [{"sha256": "1" * 64}, {"min_user": 4}, {"columns": [None, None, None]}])
def test_other_facts_are_another_entry(tmp_path: Path, other: dict[str, object]) -> None:
    load_or_build(tmp_path, FACTS, three_users)
    assert_equal(load_or_build(tmp_path, FACTS | other, lambda: three_users(50)), three_users(50))
    assert_equal(load_or_build(tmp_path, FACTS, never), three_users())


@pytest.mark.parametrize("failing", ["build", "write"])
def test_a_failure_leaves_nothing_and_the_next_call_builds(
    tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        if failing == "write":
            patch.setattr(Path, "write_text", fail)  # after the arrays
        with pytest.raises((OSError, InputError), match="the disk is full"):
            load_or_build(tmp_path, FACTS, fail if failing == "build" else three_users)
    assert all(name.endswith(".lock") for name in names(tmp_path))
    assert_equal(load_or_build(tmp_path, FACTS, three_users), three_users())


def test_arrays_are_mapped_and_writing_to_them_does_not_reach_the_file(tmp_path: Path) -> None:
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


def test_training_works_on_the_mapped_file_itself(tmp_path: Path, log: Path) -> None:
    """So that a second process adds no copy of the data."""
    module = amazon(tmp_path, log, batch_size=1)
    batches = module.train_dataloader()
    assert len(list(batches)) == 1
    mapped = module.interactions.items
    assert isinstance(mapped, np.memmap)
    assert batches.sequences.items.data_ptr() == mapped.ctypes.data
    maps = Path("/proc/self/smaps")
    if maps.exists():
        (entry,) = (tmp_path / "cache").glob("*/items.*")
        _, _, facts = maps.read_text().partition(str(entry))
        # Pages that were written to, and so copied.
        assert facts.partition("Anonymous:")[2].split()[0] == "0"


def amazon(folder: Path, path: Path | None, expect: tuple[int, int, int] | None = None, **changed: Any) -> Any:
    from datamodules.columns import Columns
    from datamodules.log import Counts, LogDataModule
    from datamodules.negatives import UniformNegatives
    from datamodules.splits import LeaveOneOut

    arguments: dict[str, Any] = {
        "path": None if path is None else str(path),
        "download": None,
        "columns": Columns(),
        "min_rating": None,
        "repeats": "all",
        "min_user": 3,
        "min_item": 1,
        "ties": "file",
        "expect": None if expect is None else Counts(*expect),
        "cache_dir": str(folder / "cache"),
        "split": LeaveOneOut(),
        "max_len": 5,
        "batch_size": 2,
        "eval_batch_size": 2,
        "negatives": UniformNegatives(1, "seen", 0),
        "seed": 0,
        "shuffle_histories": False,
    }
    return LogDataModule(**arguments | changed)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.txt"
    path.write_text("ann x y z\nbob y z w x\n")
    return path


def test_a_file_becomes_sequences_and_expected_counts_are_accepted(tmp_path: Path, log: Path) -> None:
    module = amazon(tmp_path, log, expect=(7, 2, 4))
    assert module.interactions.items.tolist() == [1, 2, 3, 2, 3, 4, 1]
    assert module.interactions.offsets.tolist() == [0, 3, 7]
    assert module.spec[:3] == (4, 2, 5)
    assert module.spec.item_counts.tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("expected", [(6, 2, 4), (7, 3, 4), (7, 2, 12101)])
def test_unexpected_counts_are_shown_with_those_expected(
    tmp_path: Path, log: Path, expected: tuple[int, int, int]
) -> None:
    with pytest.raises(InputError) as refused:
        _ = amazon(tmp_path, log, expected).interactions
    for counts in ((7, 2, 4), expected):
        assert "{:,} interactions of {:,} users with {:,} items".format(*counts) in str(refused.value)
    assert str(log) in str(refused.value)
    assert "dataset.expect" in str(refused.value)


def test_no_path_is_told_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.path"):
        amazon(tmp_path, None)


def test_a_changed_file_of_the_same_name_is_read_anew(tmp_path: Path, log: Path) -> None:
    before = amazon(tmp_path, log)
    assert before.spec.num_users == 2
    fingerprint = before.fingerprint
    log.write_text("ann x y z\nbob y z w x\ncat z z z\n")
    after = amazon(tmp_path, log)
    assert after.spec.num_users == 3
    assert after.fingerprint != fingerprint


def test_another_preparation_of_the_same_file_is_made_anew(tmp_path: Path, log: Path) -> None:
    assert amazon(tmp_path, log).spec.num_users == 2
    assert amazon(tmp_path, log, min_user=4).spec.num_users == 1
    assert amazon(tmp_path, log).spec.num_users == 2


def test_a_file_of_a_folder_that_gets_another_format_is_read_again(tmp_path: Path) -> None:
    """The format is read off the name, which the hash of the content does not cover."""
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "log.csv").write_text("user item timestamp\nann,x,1\nann,y,2\nann,z,3\n".replace(" ", ","))
    assert amazon(tmp_path, folder).spec.num_users == 1
    (folder / "log.csv").rename(folder / "log.txt")
    with pytest.raises(InputError, match=r"log\.txt"):
        _ = amazon(tmp_path, folder).interactions


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its data would be kept as that of the file before."""
    from datamodules import log as module
    from datamodules.sources import read_log

    def read_while_written(path: Path, *settings: Any) -> pl.DataFrame:
        path.write_text("ann x y z\nbob y z w x\ncat z z z\n")
        return read_log(path, *settings)

    before = log.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_log", read_while_written)
        with pytest.raises(InputError, match=r"log\.txt: changed while it was read"):
            _ = amazon(tmp_path, log).interactions
    assert amazon(tmp_path, log).spec.num_users == 3
    log.write_text(before)
    assert amazon(tmp_path, log).spec.num_users == 2
