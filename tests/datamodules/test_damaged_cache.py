"""Damaged entries of the cache are built again, and never read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adamct.errors import InputError
from datamodules.cache import load, load_or_build
from tests.datamodules.caches import FACTS, assert_equal, log_data, names, never, three_users

Damage = Callable[[Path, Path], object]
"""Damages a file; the second argument is another file of its entry."""


def flip(bit: int) -> Damage:
    """Return a damage that flips one bit of a file. Bits after its end are counted from its start."""

    def damage(file: Path, _: Path) -> None:
        content = bytearray(file.read_bytes())
        content[bit // 8 % len(content)] ^= 1 << bit % 8
        file.write_bytes(content)

    return damage


def replace_by_folder(file: Path, _: Path) -> None:
    file.unlink()
    file.mkdir()


def widen(file: Path, _: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(np.frombuffer(content[: len(content) // 4 * 4], np.int32).astype(np.int64).tobytes())


def as_text(file: Path, _: Path) -> None:
    np.save(file, np.array([["text"]]))
    file.with_name(f"{file.name}.npy").replace(file)


DAMAGES: dict[str, Damage] = {
    "deleted": lambda file, _: file.unlink(),
    "empty": lambda file, _: file.write_bytes(b""),
    "a byte short": lambda file, _: file.write_bytes(file.read_bytes()[:-1]),
    "half": lambda file, _: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "twice": lambda file, _: file.write_bytes(file.read_bytes() * 2),
    "zeros": lambda file, _: file.write_bytes(bytes(file.stat().st_size)),
    "another part": lambda file, other: shutil.copyfile(other, file),
    "garbage": lambda file, _: file.write_bytes(np.random.default_rng(0).bytes(100)),
    "wider numbers": lambda file, _: file.write_bytes(
        np.frombuffer(file.read_bytes()[:8], "<i4").astype("<i8").tobytes()
    ),
    "an array of another type": as_text,
    "null": lambda file, _: file.write_text("null"),
    "an empty list": lambda file, _: file.write_text("[]"),
    "no parts": lambda file, _: file.write_text('{"sha256": {}}'),
    "a folder": replace_by_folder,
    "a broken link": lambda file, _: (file.unlink(), file.symlink_to("nowhere")),
    **{f"bit {bit} flipped": flip(bit) for bit in (0, *np.random.default_rng(0).integers(0, 2**20, 3))},
}
FILES = ["items.int32", "offsets.int64", "times.float64", "user_ids.json", "item_ids.json", "facts.json"]


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    load_or_build(tmp_path, FACTS, three_users)
    (entry,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert {*names(entry)} == {*FILES}
    return entry


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_prepared_again(
    entry: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = FILES[FILES.index(name) - 1]
    DAMAGES[damage](entry / name, entry / other)
    assert_equal(load_or_build(entry.parent, FACTS, three_users), three_users())
    assert capsys.readouterr().err == f"{entry}: damaged; the data is prepared again\n"
    assert_equal(load_or_build(entry.parent, FACTS, never), three_users())
    assert capsys.readouterr().err == ""
    assert names(entry.parent) == [entry.name, f"{entry.name}.lock"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_flip_of_any_bit_is_detected(entry: Path, name: str) -> None:
    """Only flips in the blanks of the facts may go undetected."""
    file = entry / name
    content = file.read_bytes()
    for bit in range(len(content) * 8):
        flip(bit)(file, file)
        prepared = load(entry, FACTS)
        assert prepared is None or bytes(content[bit // 8 : bit // 8 + 1]).isspace()
        if prepared is not None:
            assert_equal(prepared, three_users())
        file.write_bytes(content)
    assert load(entry, FACTS) is not None


@pytest.mark.parametrize("what", ["file", "empty folder", "broken link", "entry of other data"])
def test_anything_else_in_place_of_an_entry_is_replaced(entry: Path, what: str) -> None:
    shutil.rmtree(entry)
    if what == "file":
        entry.write_text("text")
    elif what == "empty folder":
        entry.mkdir()
    elif what == "entry of other data":
        load_or_build(entry.parent / "other", FACTS | {"min_user": 4}, lambda: three_users(50))
        next((entry.parent / "other").glob("*/")).rename(entry)
        shutil.rmtree(entry.parent / "other")
    else:
        entry.symlink_to("nowhere")
    assert_equal(load_or_build(entry.parent, FACTS, three_users), three_users())
    assert names(entry.parent) == [entry.name, f"{entry.name}.lock"]


def test_mapped_arrays_do_not_change(entry: Path) -> None:
    """A file that is written in place or truncated would change the arrays of its readers, or crash them."""
    prepared = load_or_build(entry.parent, FACTS, never)
    (entry / "user_ids.json").unlink()
    load_or_build(entry.parent, FACTS, lambda: three_users(50))
    assert_equal(prepared, three_users())


def test_files_of_a_killed_process_do_not_matter(entry: Path) -> None:
    partial = entry.with_name(f"{entry.name}.partial")
    shutil.copytree(entry, partial / "new")
    entry.rename(partial / "old")
    assert_equal(load_or_build(entry.parent, FACTS, three_users), three_users())
    assert names(entry.parent) == [entry.name, f"{entry.name}.lock"]


def test_a_damaged_entry_without_its_source_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("ann x y z\nbob y z w x\n")
    assert log_data(tmp_path, log).spec.num_users == 2
    next(tmp_path.glob("cache/*/items.int32")).unlink()
    log.unlink()
    with pytest.raises(InputError, match=r"log\.txt: No such file"):
        _ = log_data(tmp_path, log).interactions


def test_an_entry_contains_its_facts(entry: Path) -> None:
    assert json.loads((entry / "facts.json").read_text())["facts"] == FACTS
