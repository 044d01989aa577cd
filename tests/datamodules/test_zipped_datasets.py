"""Datasets that are published as zip archives: each YAML reads its archive, and damaged ones are refused."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate

from adamct.errors import InputError
from datamodules import download
from datamodules.download import Download
from tests.conftest import composed
from tests.datamodules.file_server import serving

ROWS = [(f"u{user}", f"i{(user * step) % 7}", 5, 1000 + step) for user in range(1, 9) for step in range(1, 8)]
FILES = {
    "ml1m": ("ml-1m.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float"),
    "ml20m": ("ratings.csv", "userId,movieId,rating,timestamp"),
    "steam": ("steam.inter", "user_id:token\tproduct_id:token\tplay_hours:float\ttimestamp:float"),
    "yelp": ("yelp2022.inter", "user_id:token\tbusiness_id:token\tstars:float\tdate:float"),
}
"""The file of each dataset in its archive, and the file's header: the columns that are read, and another one."""


def zipped(*members: tuple[str, str]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members:
            file.writestr(name, text)
    return archive.getvalue()


def member(name: str) -> tuple[str, str]:
    """Return the file of a dataset in its archive, in a folder, with its text."""
    file, header = FILES[name]
    separator = "," if "," in header else "\t"
    return f"folder/{file}", "\n".join([header, *(separator.join(map(str, row)) for row in ROWS)])


def make(name: str, folder: Path, content: bytes, *overrides: str) -> Any:
    """Return the prepared data of a dataset whose archive a server on this machine gives."""
    with serving(lambda server, _: server.send(content)) as (url, _):
        address = f"dataset.download.urls=['{url.replace('reviews_5.json.gz', 'some.zip')}']"
        small = ("dataset.min_user=1", "dataset.min_item=1", "dataset.negatives.count=2", "model=popularity")
        cfg = composed(f"dataset={name}", address, f"data_dir={folder}", *small, *overrides)
        return instantiate(cfg.dataset).prepared


@pytest.mark.parametrize("name", FILES)
def test_a_dataset_reads_its_file_in_the_archive(name: str, tmp_path: Path) -> None:
    prepared = make(name, tmp_path, zipped(("readme.txt", "read me"), member(name)), "dataset.expect=null")
    assert len(prepared.interactions.items) == len(ROWS)
    assert list(prepared.interactions.item_ids[:2]) == ["i1", "i2"]
    assert [path.name for path in tmp_path.rglob("*") if path.suffix in (".zip", ".part", ".unpacked")] == []


def test_other_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has 56 interactions .* were expected; is it the right file"):
        make("ml1m", tmp_path, zipped(member("ml1m")))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"<html>not found</html>", "is not a whole zip archive"),
        (zipped(("log.csv", "1" * 999))[:60], "is not a whole zip archive"),
        (zipped(("other.csv", "1")), "holds 0 files log.csv"),
        (zipped(("a/log.csv", "1"), ("b/log.csv", "1")), "holds 2 files log.csv"),
    ],
    ids=["a page", "half of it", "none", "two"],  # the archives hold the time at which they are made
)
def test_archives_without_the_file_are_refused(
    content: bytes, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "WAIT", 0.0)
    with serving(lambda server, _: server.send(content)) as (url, _), pytest.raises(InputError) as error:
        Download([url], str(tmp_path), None, "log.csv").fetch()
    assert line in str(error.value)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
