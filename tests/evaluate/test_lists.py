"""The formats of files of recommendations, and the rows that are counted or refused."""

import json
from pathlib import Path

import polars as pl
import pytest

from adamct.errors import InputError
from adamct.evaluate.counts import lines
from tests.evaluate.lists import ranked, scores, table, write


def test_formats_give_the_same_ranks(tmp_path: Path) -> None:
    rows = table(scores(10**6), 12)
    numbers = rows.cast({"user": pl.Int32, "item": pl.Int64, "score": pl.Float32})
    lists = rows.group_by("user", maintain_order=True).agg(items="item", scores="score")
    files = [
        write(rows.drop("rank"), tmp_path / "scores.csv"),
        write(rows.drop("score").rename({"user": "user_id", "item": "item_id"}), tmp_path / "ranks.tsv"),
        write(numbers, tmp_path / "numbers.parquet"),
        write(numbers.drop("rank"), tmp_path / "rows.jsonl"),
        write(lists.drop("scores"), tmp_path / "lists.jsonl"),
        write(lists.with_columns(pl.col("items", "scores").list.reverse()), tmp_path / "scored_lists.jsonl"),
        write(lists, tmp_path / "lists.parquet"),
    ]
    outcomes = [ranked(file) for file in files]
    assert [counted.order for counted, _ in outcomes] == ["score", "rank", "score", "score", "place", "score", "score"]
    for _, rankings in outcomes:
        assert [one.ranks.tolist() for one in rankings.values()] == [
            one.ranks.tolist() for one in outcomes[0][1].values()
        ]


def test_all_that_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = table(scores(10**6), 12).select("user", "item", pl.col("score").cast(pl.String))
    _, expected = ranked(write(rows, tmp_path / "clean.csv"))
    user, item, _ = rows.row(0)
    unlisted = next(str(number) for number in range(1, 61) if str(number) not in rows.filter(user=user)["item"])
    others = [("nobody", item, "1"), ("nobody", "x", "1"), (user, "nothing", "9e9"), (user, item, "-5")]
    others += [(user, unlisted, "-inf")]
    noisy = pl.concat([rows, pl.DataFrame(others, rows.schema, orient="row")])
    counted, rankings = ranked(write(noisy, tmp_path / "noisy.csv"))
    assert (counted.rows, counted.unknown_users) == (len(rows) + 5, (1, 2, "nobody"))
    assert (counted.unknown_items.ids, counted.unknown_items.rows) == (2, 2)
    assert counted.dropped == (1, 1, 0)
    for name, ranking in rankings.items():
        assert ranking.ranks.tolist() == expected[name].ranks.tolist()
    text = "\n".join(lines(counted, list(rankings.values())))
    assert "left out: 2 rows of 1 users that the prepared log does not have, the first 'nobody'" in text
    assert "left out: 1 rows that repeat an item of their user; its best place stays" in text
    assert "left out: 1 rows with a score of minus infinity" in text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "user,item,score\n0,1,0.5\n0,2,NaN\n", "row 3: the score 'NaN' is not a number"),
        ("a.csv", "user,item,score\n0,1,high\n", "row 2: the score 'high' is not a number"),
        ("a.csv", "user,item,score\n0,1,\n", "row 2: the score is missing"),
        ("a.csv", "user,item,rank\n,1,1\n", "row 2: the user is missing"),
        ("a.csv", "user,item\n0,1\n", "no column score or rank"),
        ("a.csv", "person,item,score\n0,1,1\n", "no column user or user_id; its columns are ['person'"),
        ("a.csv", "user,item,score\n", "holds no recommendations"),
        ("a.csv", "user,item,score\nx,1,1\n", "none of its users is in the prepared log, which has '0', but not 'x'"),
        ("a.csv", "user,item,score\n0,x,1\n", "none of its items is in the prepared log"),
        ("a.jsonl", '{"user": 0, "items": [1, 2], "scores": [1]}\n', "row 1: give as many scores as items"),
        ("a.jsonl", '{"user": 0, "item": 1, "score": 1}\n{"user": 0, "item": 2, "score": NaN}\n', "line 2"),
        ("a.jsonl", "[1, 2]\n", "the first line is not a JSON object"),
        ("a.parquet", "no Parquet", "cannot be read"),
        ("a.xlsx", "x", "unknown extension; give .csv"),
    ],
)
def test_mistakes_give_one_line(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        ranked(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        ranked(tmp_path / "a.csv")


def test_an_empty_list_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"user": user, "items": [1] * (user == 0)}) for user in (0, 1))
    )
    counted, _ = ranked(tmp_path / "a.jsonl")
    assert (counted.without_list, counted.first_without_list) == (79, "1")
