"""Recommendations as a stage of a run, and from its checkpoint alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from hydra.utils import instantiate

import adamct
from tests.conftest import TINY, Ended, composed, give
from tests.datamodules.small_logs import SMALL

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        overrides = ("stages=[fit,predict]", "predict.format=jsonl", f"hydra.run.dir={folder}")
        assert give(patch, *TINY, *overrides).code == 0
    return folder


def rows_of(file: Path) -> pl.DataFrame:
    return {".jsonl": pl.read_ndjson, ".csv": pl.read_csv, ".parquet": pl.read_parquet}[file.suffix](file)


def log_of(folder: Path) -> dict[str, list[str]]:
    """Return the history of each user of the log, as ids."""
    log = instantiate(composed(*TINY).dataset).interactions
    return {
        name: [log.item_ids[int(item) - 1] for item in log.items[log.offsets[u] : log.offsets[u + 1]]]
        for u, name in enumerate(log.user_ids)
    }


def test_loaded_checkpoint_recommends_as_its_run(trained: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere.ckpt"
    alone.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes())
    histories = log_of(trained)
    recommendations = adamct.load(alone).recommend(list(histories.values()))
    written = rows_of(trained / "recommendations.jsonl")
    assert written.columns == ["user", "rank", "item", "score"]
    assert written["user"].unique(maintain_order=True).cast(pl.String).to_list() == list(histories)
    for user, row in zip(histories, recommendations, strict=True):
        rows = written.filter(pl.col("user").cast(pl.String) == user)
        assert rows["rank"].to_list() == list(range(1, 11))
        assert rows["item"].cast(pl.String).to_list() == [item for item, _ in row]
        assert rows["score"].to_list() == pytest.approx([score for _, score in row], abs=1e-5)
        assert not set(rows["item"].cast(pl.String)) & set(histories[user])


def test_formats_and_batch_sizes_give_the_same_rows(trained: Path, tmp_path: Path, run: Run) -> None:
    tables = []
    for form, size in (("csv", 7), ("parquet", 33)):
        stage = ("stages=[predict]", f"ckpt='{trained}/checkpoints/best.ckpt'", f"predict.format={form}")
        assert run(*TINY, *stage, f"dataset.eval_batch_size={size}", f"hydra.run.dir={tmp_path / form}").code == 0
        assert {path.name for path in (tmp_path / form).glob("*recommend*")} == {f"recommendations.{form}"}
        tables.append(rows_of(tmp_path / form / f"recommendations.{form}").cast({"user": pl.Int64, "item": pl.Int64}))
    written = rows_of(trained / "recommendations.jsonl").cast({"user": pl.Int64, "item": pl.Int64})
    for table in tables:
        assert table.select("user", "rank", "item").equals(written.select("user", "rank", "item"), null_equal=True)


def test_recommends_to_listed_users_and_other_people(trained: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "some.txt").write_text("5\n\n3\n")
    people = [{"who": "new", "what": item, "when": time} for time, item in ((2, "8"), (1, "7"), (3, "no such item"))]
    (tmp_path / "people.jsonl").write_text("\n".join(map(json.dumps, people)))
    columns = [f"predict.columns.{key}" for key in ("user=who", "item=what", "timestamp=when")]
    stage = (*TINY, "stages=[predict]", f"ckpt='{trained}/checkpoints/best.ckpt'", "predict.k=3")
    assert run(*stage, f"predict.users={tmp_path}/some.txt", f"hydra.run.dir={tmp_path / 'some'}").code == 0
    some = rows_of(tmp_path / "some" / "recommendations.parquet")
    written = rows_of(trained / "recommendations.jsonl").cast({"user": pl.String, "item": pl.String})
    for user in ("5", "3"):
        expected = written.filter((pl.col("user") == user) & (pl.col("rank") <= 3))["item"].to_list()
        assert some.filter(pl.col("user") == user)["item"].to_list() == expected
    assert some["user"].to_list() == ["5"] * 3 + ["3"] * 3

    titles = [json.dumps({"asin": str(item), "title": f"title of {item}"}) for item in range(1, 61)]
    (tmp_path / "meta.json").write_text("\n".join(titles))
    assert run(*stage, f"predict.titles={tmp_path}/meta.json", f"hydra.run.dir={tmp_path / 'titled'}").code == 0
    titled = rows_of(tmp_path / "titled" / "recommendations.parquet")
    assert titled["title"].to_list() == [f"title of {item}" for item in titled["item"]]

    histories = f"predict.histories={tmp_path}/people.jsonl"
    assert run(*stage, histories, *columns, f"hydra.run.dir={tmp_path / 'new'}").code == 0
    new = rows_of(tmp_path / "new" / "recommendations.parquet")
    (expected,) = adamct.load(trained / "checkpoints" / "best.ckpt").recommend([["7", "8"]], 3)
    assert new["item"].to_list() == [item for item, _ in expected]
    assert new["user"].to_list() == ["new"] * 3


@pytest.mark.slow
def test_recommendations_from_a_log_depend_on_its_times(tmp_path: Path, run: Run) -> None:
    log = log_of(tmp_path)
    rows = [f"{user},{item},{at**6}" for user, items in log.items() for at, item in enumerate(items)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,timestamp", *rows]))
    sequences = [f"{user} {' '.join(items)}" for user, items in log.items()]
    (tmp_path / "orders.txt").write_text("\n".join(sequences))
    command = (*SMALL, "model=hstu", f"dataset.path={tmp_path}/log.csv", f"data_dir={tmp_path}")
    assert run(*command, "stages=[fit,predict]", f"hydra.run.dir={tmp_path}/run").code == 0
    checkpoint = f"ckpt='{tmp_path}/run/checkpoints/best.ckpt'"
    tables = [rows_of(tmp_path / "run" / "recommendations.parquet")]
    for name in ("log.csv", "orders.txt"):
        people = f"predict.histories={tmp_path}/{name}"
        assert run(*command, "stages=[predict]", checkpoint, people, f"hydra.run.dir={tmp_path}/{name}.out").code == 0
        tables.append(rows_of(tmp_path / f"{name}.out" / "recommendations.parquet"))
    users, people, without_times = (table.sort("user", "rank")["score"].to_list() for table in tables)
    assert people == pytest.approx(users, abs=1e-5)
    assert without_times != pytest.approx(users, abs=1e-5)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["predict.users=none.txt"], ["none.txt"]),
        (["predict.users=nobody.txt"], ["nobody.txt: none of its lines is a user of the prepared log, such as '0'"]),
        pytest.param(["predict.users=empty.txt"], ["empty.txt: empty"], marks=pytest.mark.slow),
        pytest.param(["predict.users=utf16.txt"], ["utf16.txt: cannot be read", "UTF-8"], marks=pytest.mark.slow),
        (["predict.users=nobody.txt", "predict.histories=log.txt"], ["predict.users and predict.histories"]),
        (["predict.histories=log.txt"], ["log.txt: none of its items is known to the model, such as '1'"]),
        (["predict.format=xml"], ["predict.format=xml", "parquet"]),
        pytest.param(["predict.k=0"], ["k=0"], marks=pytest.mark.slow),
        (["ckpt=null"], ["stages=[predict]", "ckpt=PATH"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_mistakes_give_one_line_and_leave_no_file(
    overrides: list[str], parts: list[str], trained: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nobody.txt").write_text("nobody\n")
    Path("empty.txt").write_text("\n \n")
    Path("utf16.txt").write_text("1\n", "utf-16")
    Path("log.txt").write_text("bob u v\nann x y\n")
    stage = ("stages=[predict]", f"ckpt='{trained}/checkpoints/best.ckpt'", "hydra.run.dir=out")
    ended = run(*TINY, *stage, *overrides)
    assert ended.code == 1
    assert "\n" not in ended.line
    assert all(part in ended.line for part in parts), ended.line
    assert not list(Path("out").glob("*recommendations*"))


class Payload:
    """An object that writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("key", ["ckpt", "resume"])
def test_run_refuses_pickled_code_and_other_weights(key: str, trained: Path, tmp_path: Path, run: Run) -> None:
    stage = ["stages=[fit]", "trainer.max_epochs=5"] if key == "resume" else ["stages=[test]"]
    command = [*TINY, *stage, f"{key}={tmp_path}/bad.ckpt", f"hydra.run.dir={tmp_path / 'out'}"]
    torch.save(Payload(tmp_path / "executed"), tmp_path / "bad.ckpt")
    assert "bad.ckpt: not a readable checkpoint" in run(*command).line
    assert not (tmp_path / "executed").exists()
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    content["state_dict"].popitem()
    torch.save(content, tmp_path / "bad.ckpt")
    ended = run(*command)
    assert "the checkpoint's weights do not fit the model: " in ended.line
    assert "\n" not in ended.line


@pytest.mark.parametrize("key", ["users", "histories", "titles"])
def test_mistakes_end_a_run_before_it_trains(key: str, tmp_path: Path, run: Run) -> None:
    ended = run(
        *TINY, "stages=[fit,test,predict]", f"predict.{key}={tmp_path}/none.csv", f"hydra.run.dir={tmp_path}/out"
    )
    assert ended.code == 1
    assert "none.csv" in ended.line
    assert not (tmp_path / "out" / "checkpoints").exists()
