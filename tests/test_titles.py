"""Titles from metadata of either kind."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from adamct.errors import InputError
from datamodules.titles import read_titles

ITEMS = pl.Series("id", ["B1", "B2", "B3", "B4"])
META = [
    {"asin": "B2", "title": 'A "quoted" one, it\'s said', "related": {"also_bought": ["B1"]}},
    {"asin": "B9", "title": "of another item"},
    {"asin": "B3", "price": 5.0},
    {"title": "asin first is no rule", "asin": "B1"},
    {"parent_asin": "B4", "title": "ä"},
]
EXPECTED = ["asin first is no rule", 'A "quoted" one, it\'s said', None, "ä"]


@pytest.mark.parametrize("write", [repr, json.dumps], ids=["2014", "2018"])
@pytest.mark.parametrize("name", ["meta.json.gz", "meta.json"])
def test_titles_stand_where_their_items_do(write: type, name: str, tmp_path: Path) -> None:
    content = "\n".join(map(write, META)).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read_titles(tmp_path / name, ITEMS).to_list() == EXPECTED


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.gz: cannot be read"):
        read_titles(tmp_path / "none.gz", ITEMS)
    (tmp_path / "other.json").write_text(json.dumps(META[1]))
    with pytest.raises(InputError, match=r"other\.json: has a title for none"):
        read_titles(tmp_path / "other.json", ITEMS)
    (tmp_path / "odd.json").write_text("{'asin': 'B1', 'title': }")
    with pytest.raises(InputError, match=r"odd\.json, line 1: neither"):
        read_titles(tmp_path / "odd.json", ITEMS)
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(json.dumps(META[0]).encode())[:-9])
    with pytest.raises(InputError, match=r"cut\.json\.gz: cannot be read"):
        read_titles(tmp_path / "cut.json.gz", ITEMS)
