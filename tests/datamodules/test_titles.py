"""Titles are read from metadata in JSON and in Python literals."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from adamct.errors import InputError
from datamodules.titles import read_titles

ITEMS = pl.Series("id", ["B1", "B2", "B3", "B4"])
META = [
    {"also": [{"asin": "B3", "title": "of a nested item"}], "asin": "B2", "title": "an earlier one"},
    {
        "description": """its own is "asin": "B1", not 'asin': 'B3'""",
        "asin": "B2",
        "title": 'A "quoted" one, it\'s said',
        "related": {"also_bought": ["B1"]},
    },
    {"asin": "B9", "title": "of another item"},
    {"asin": "B3", "price": 5.0},
    {"title": "asin first is no rule", "asin": "B1"},
    {"asin": "B9", "parent_asin": "B4", "title": "ä"},
    {"asin": "B2"},
    {"asin": "B2", "title": None},
    {"asin": "B2", "title": ""},
    {"asin": "B3", "title": ["no text"]},
    {"asin": ["B3"], "title": "no id"},
    {"related": {"also_bought": ["B3"]}, "title": "without an id"},
]
EXPECTED = ["asin first is no rule", 'A "quoted" one, it\'s said', None, "ä"]


@pytest.mark.parametrize("write", [repr, json.dumps], ids=["2014", "2018"])
@pytest.mark.parametrize("name", ["meta.json.gz", "meta.json"])
def test_titles_are_in_the_order_of_their_items(write: Callable[[object], str], name: str, tmp_path: Path) -> None:
    content = "\n".join(map(write, META)).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read_titles(tmp_path / name, ITEMS).to_list() == EXPECTED


@pytest.mark.parametrize("write", [repr, json.dumps], ids=["2014", "2018"])
@pytest.mark.parametrize("line", ["{}", "{}\r", "\n{}\n\n", '["a line that names none"\n{}'])
def test_any_id_gets_its_title(write: Callable[[object], str], line: str, tmp_path: Path) -> None:
    ids = ["it's", 'a "b"', 'it\'s "b"', "line\nbreak", "back\\slash", "ä\u2028", " ", "{'asin': 'x'}"]
    for known in ids:
        meta = "\n".join(line.format(write({"title": name, "asin": name})) for name in ids)
        (tmp_path / "meta.json").write_text(f"\ufeff{meta}", "utf-8")
        assert read_titles(tmp_path / "meta.json", pl.Series([known])).to_list() == [known]


def test_mistakes_in_metadata_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.gz: cannot be read"):
        read_titles(tmp_path / "none.gz", ITEMS)
    (tmp_path / "other.json").write_text(json.dumps(META[2]))
    with pytest.raises(InputError, match=r"other\.json: has no title of any"):
        read_titles(tmp_path / "other.json", ITEMS)
    (tmp_path / "odd.json").write_text("{'asin': 'B1', 'title': }")
    with pytest.raises(InputError, match=r"odd\.json, line 1: must be a JSON object or"):
        read_titles(tmp_path / "odd.json", ITEMS)
    for odd in ("{'asin': 'B1', []: 1}", "{'asin': 'B1'" + "[" * 10_000):
        (tmp_path / "odd.json").write_text(odd)
        with pytest.raises(InputError, match=r"odd\.json, line 1: must be a JSON object or"):
            read_titles(tmp_path / "odd.json", ITEMS)
    for text in (json.dumps([META[0]]), "5", "null"):
        (tmp_path / "odd.json").write_text(f"{json.dumps(META[1])}\n{text}")
        with pytest.raises(InputError, match=r"odd\.json, line 2: must be an object"):
            read_titles(tmp_path / "odd.json", ITEMS)
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(json.dumps(META[0]).encode())[:-9])
    with pytest.raises(InputError, match=r"cut\.json\.gz: cannot be read"):
        read_titles(tmp_path / "cut.json.gz", ITEMS)
