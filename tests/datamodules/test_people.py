"""The people to recommend to: listed users of the log, and people with histories in a file."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from datamodules.columns import Columns
from datamodules.people import people_of, people_of_file, users_of_log
from datamodules.preprocessing import Interactions


def test_list_of_users_ignores_blanks_and_repetitions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    user_ids = pl.Series(["ann", "bob", " bob", "Zoë", "eve"])
    log = Interactions(np.arange(1, 11, dtype=np.int32), np.arange(0, 11, 2), np.arange(10), user_ids, user_ids)
    (tmp_path / "users.txt").write_bytes(
        "\ufeffeve\r\n\r\n  Zoë \t\r\n bob\r\nbob\r\n\r\nstranger\r\neve\r\nother".encode()
    )
    people = users_of_log(log, tmp_path / "users.txt")
    assert people.ids.to_list() == ["eve", "Zoë", " bob", "bob"]
    assert people.users.tolist() == [4, 3, 2, 1]
    assert people.items.tolist() == [9, 10, 7, 8, 5, 6, 3, 4]
    assert people.times is not None
    assert people.times.tolist() == [8, 9, 6, 7, 4, 5, 2, 3]
    message = "skipped users who are not in the prepared log: 2, the first 'stranger'\n"
    assert capsys.readouterr().out == f"{tmp_path / 'users.txt'}: {message}"


def test_people_without_a_known_item_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "log.csv"
    file.write_text("user,item,timestamp\nann,x,1\nbob,b,2\nann,y,2\nbob,x,1\nbob,a,3\neve,a,1\n")
    people = people_of_file(file, Columns(), pl.Series(["a", "b"]))
    assert people.ids.to_list() == ["bob", "eve"]
    assert people.items.tolist() == [2, 1, 1]
    assert people.offsets.tolist() == [0, 2, 3]
    assert people.times is not None
    assert people.times.tolist() == [2, 3, 1]
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: skipped items that the model does not know: 2, the first 'x'",
        f"{file}: skipped users without an item that the model knows: 1, the first 'ann'",
    ]


def test_orders_of_items_are_not_taken_for_times(tmp_path: Path) -> None:
    ids = pl.Series(["a", "b"])
    log = Interactions(np.array([1, 2], np.int32), np.array([0, 1, 2]), np.arange(2), ids, ids)
    (tmp_path / "people.txt").write_text("ann a b\n")
    for file, has_times in ((None, False), (str(tmp_path / "people.txt"), True)):
        people = people_of(log, has_times, users=None, histories=file, columns=Columns(), only_users=False)
        assert people.times is None
        assert people.items.tolist() == [1, 2]
