"""Folders that may not be written to, and disks that are full: one line that names the folder, and nothing left."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from adamct.batch import People
from adamct.errors import InputError, writing
from adamct.serving.predictions import WRITERS, write_recommendations
from adamct.serving.recommender import Recommender
from adamct.values import TableFormat
from datamodules.cache import load_or_build
from datamodules.download import Download
from tests.datamodules.caches import FACTS, log_data, names, three_users
from tests.datamodules.file_server import CONTENT, NAME, serving


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Act as somebody who may write only where all may, as root may everywhere."""
    if not hasattr(os, "geteuid"):
        pytest.skip("needs the users of POSIX")
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def read_only_data() -> Iterator[Path]:
    """A folder with a log and its prepared data, in which nothing can be made."""
    folder = Path(tempfile.mkdtemp())  # pytest's own are closed to other users
    (folder / "log.txt").write_text("ann x y z\nbob y z w x\n")
    assert log_data(folder, folder / "log.txt").spec.num_users == 2
    for lock in folder.glob("cache/*.lock"):
        lock.unlink()
    for path in (folder / "cache", folder):
        path.chmod(0o555)
    yield folder
    for path in (folder, folder / "cache"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_prepared_data_in_a_read_only_folder_is_used(read_only_data: Path) -> None:
    with ordinary_user():
        module = log_data(read_only_data, read_only_data / "log.txt")
        assert module.spec.num_users == 2
        assert isinstance(module.interactions.items, np.memmap)
    assert not list(read_only_data.glob("cache/*.lock"))


@pytest.mark.parametrize("what", ["other settings", "damaged", "no folder"])
def test_preparing_in_a_read_only_folder_is_an_error(read_only_data: Path, what: str) -> None:
    cache = read_only_data / "cache"
    changed: dict[str, Any] = {}
    if what == "other settings":
        changed = {"min_user": 4}
    elif what == "damaged":
        next(cache.glob("*/items.int32")).write_bytes(b"")
    else:
        cache = read_only_data / "new" / "cache"
        changed = {"cache_dir": str(cache)}
    with ordinary_user(), pytest.raises(InputError) as refused:
        _ = log_data(read_only_data, read_only_data / "log.txt", **changed).interactions
    assert str(refused.value).startswith(f"{cache}: Permission denied; data_dir")


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """Let no file of this process grow over some bytes: the system then refuses to write, as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_data_on_a_full_disk_is_an_error_without_files(tmp_path: Path) -> None:
    items = np.ones(4096, np.int32)
    large = three_users()._replace(items=items, times=items, offsets=np.array([0, len(items)]))
    with full_after(4096), pytest.raises(InputError, match=f"^{tmp_path}: File too large; data_dir"):
        load_or_build(tmp_path, FACTS, lambda: large)
    assert all(name.endswith(".lock") for name in names(tmp_path))


@pytest.mark.parametrize("form", WRITERS)
def test_recommendations_on_a_full_disk_leave_no_file(
    tmp_path: Path, form: TableFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parquet and CSV are written by polars, whose errors have no number."""
    rows = pl.DataFrame({"score": np.random.default_rng(0).random(4096)})
    monkeypatch.setattr("adamct.serving.predictions.recommended_rows", lambda *_, **__: [rows])
    recommender, nobody = object.__new__(Recommender), People(pl.Series(), *[np.zeros(0, np.int64)] * 3)
    with full_after(4096), pytest.raises(InputError) as refused:
        write_recommendations(
            recommender, nobody, tmp_path, file_format=form, k=1, unseen=False, batch_size=1, titles=None
        )
    assert str(refused.value).startswith(f"{tmp_path}: ")
    assert "File too large" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert names(tmp_path) == []


def test_an_array_on_a_full_disk_is_an_error(tmp_path: Path) -> None:
    with full_after(4096), pytest.raises(InputError, match=f"^{tmp_path}: .*; data_dir"), writing(tmp_path):
        np.save(tmp_path / "array.npy", np.zeros(4096))


def test_other_errors_do_not_name_the_disk(tmp_path: Path) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError), writing(tmp_path):
        pl.DataFrame({"a": [1]}).select("b")
    with pytest.raises(InputError, match=r"^what \(os error 2\) it is$"), writing(tmp_path):
        raise InputError("what (os error 2) it is")


def test_a_download_resumes_once_there_is_space(
    tmp_path: Path,
) -> None:
    with serving(lambda server, _: server.part(len(CONTENT))) as (url, asked):
        with full_after(40_000), pytest.raises(InputError, match=f"^{tmp_path}: File too large; data_dir"):
            Download([url], str(tmp_path), None).fetch()
        assert not (tmp_path / NAME).exists()
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == CONTENT
    assert asked == [None, "bytes=40000-"]


def test_a_download_into_a_read_only_folder_is_an_error(read_only_data: Path) -> None:
    with ordinary_user(), pytest.raises(InputError, match=f"^{read_only_data}: Permission denied; data_dir"):
        Download(["https://localhost/file.gz"], str(read_only_data), None).fetch()
