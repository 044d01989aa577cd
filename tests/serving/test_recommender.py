"""What is recommended, against scores by hand; from a checkpoint alone, and as a stage of a run."""

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

import adamct
from adamct.batch import Batch, DataSpec
from adamct.errors import InputError
from adamct.evaluation.ranking import BYTES_AT_ONCE
from adamct.models.base import NextItemModel
from adamct.serving.recommender import Recommender
from datamodules.columns import Columns
from datamodules.people import people_of_file, users_of_log
from datamodules.preprocessing import Interactions
from tests.conftest import TINY, Ended, Largest, give

Run = Callable[..., Ended]
ITEMS = 30
SPEC = DataSpec(num_items=ITEMS, num_users=8, max_len=6, item_counts=torch.arange(ITEMS + 1.0))
NAMES = [f"item-{number}" for number in range(1, ITEMS + 1)]
HISTORIES = [["item-3"], ["item-5", "item-1", "item-9", "item-9"], [f"item-{n}" for n in range(1, 12)]]


@torch.no_grad()
def by_hand(model: Any, history: Sequence[str], k: int, unseen: bool, user: int = 0) -> list[tuple[str, float]]:
    """One history by itself, its scores one by one."""
    numbers = [NAMES.index(item) + 1 for item in history]
    kept = numbers[-SPEC.max_len :]
    width = SPEC.max_len if model.pad_to_max_len else len(kept)
    item_seq = torch.tensor([kept + [0] * (width - len(kept))])
    query = model.queries(Batch(torch.tensor([user]), item_seq, torch.tensor([len(kept)]), torch.tensor([0])))[0]
    bias = model.item_bias()
    scored = [
        (NAMES[number - 1], float(query @ vector) + (0.0 if bias is None else float(bias[number])))
        for number, vector in enumerate(model.item_table())
        if number and not (unseen and number in numbers)
    ]
    return sorted(scored, key=lambda pair: -pair[1])[:k]


@pytest.mark.parametrize("unseen", [True, False])
@pytest.mark.parametrize("name", ["adamct", "adamct_paper", "sasrec", "bert4rec", "core", "sine"])
def test_recommendations_are_the_highest_scores(name: str, unseen: bool, build: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    model = build(SPEC, f"model={name}")
    found = Recommender(model, NAMES, SPEC.max_len).recommend(HISTORIES, 7, unseen)
    assert not model.training
    for history, row in zip(HISTORIES, found, strict=True):
        expected = by_hand(model, history, 7, unseen)
        assert [item for item, _ in row] == [item for item, _ in expected]
        assert [score for _, score in row] == pytest.approx([score for _, score in expected], abs=1e-5)


@pytest.mark.parametrize("unseen", [True, False])
@pytest.mark.parametrize("scores", [1, 64])
def test_chunks_of_users_and_items_change_nothing(
    scores: int, unseen: bool, build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = Recommender(build(SPEC), NAMES, SPEC.max_len)
    whole = recommender.recommend(HISTORIES, 5, unseen)
    monkeypatch.setitem(BYTES_AT_ONCE, "cpu", 4 * scores)
    for row, of_whole in zip(recommender.recommend(HISTORIES, 5, unseen), whole, strict=True):
        assert [item for item, _ in row] == [item for item, _ in of_whole]
        assert [score for _, score in row] == pytest.approx([score for _, score in of_whole], abs=1e-6)


class Fixed(NextItemModel):
    """Matches random vectors, whatever the history."""

    def __init__(self, num_items: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table, self.vectors = (torch.randn(count, 16, generator=generator) for count in (num_items + 1, 64))

    def queries(self, batch: Batch) -> Tensor:
        return self.vectors[batch.user]

    def item_table(self) -> Tensor:
        return self.table


def test_the_best_of_half_a_million_items_are_found_in_bounded_memory() -> None:
    model, people = Fixed(500_000), np.arange(64)
    recommender = Recommender(model, [str(number) for number in range(1, 500_001)], 5)
    scores = model.vectors @ model.table.T
    scores[:, 0] = -torch.inf
    had = scores.argmax(1)  # the best is not to be recommended
    scores[people, had] = -torch.inf
    expected, numbers = scores.topk(20)
    with Largest(model.table) as largest:
        found, best = recommender.top(had.numpy(), np.arange(65), people, k=20, unseen=True)
    assert largest.bytes <= BYTES_AT_ONCE["cpu"]
    assert found.equal(numbers)
    torch.testing.assert_close(best, expected)


def test_no_more_is_recommended_than_there_is(build: Callable[..., Any]) -> None:
    recommender = Recommender(build(SPEC), NAMES, SPEC.max_len)
    (row,) = recommender.recommend([NAMES[:-2]], 10)
    assert {item for item, _ in row} == set(NAMES[-2:])
    assert recommender.recommend([]) == []


def test_items_that_the_model_does_not_know_are_passed_over(build: Callable[..., Any]) -> None:
    recommender = Recommender(build(SPEC), NAMES, SPEC.max_len)
    known, mixed = recommender.recommend([["item-3", "item-4"], ["item-3", "new", "item-4"]])
    assert known == mixed
    nobody, somebody, empty = recommender.recommend([["new", "newer"], ["item-3", "item-4"], []])
    assert (nobody, empty) == ([], [])
    assert [item for item, _ in somebody] == [item for item, _ in known]
    with pytest.raises(InputError, match=r"histories=\[\['new', 'newer'\], \[\]\]: must have an item"):
        recommender.recommend([["new", "newer"], []])


@pytest.mark.parametrize(
    ("histories", "options", "told"),
    [
        (["77", "7"], {}, r"histories\[0\]='77': must be a list of item ids"),
        ("77", {}, r"histories\[0\]='7': must be"),
        ([["7"], b"77"], {}, r"histories\[1\]=b'77': must be"),
        ([[7, 77]], {}, r"histories\[0\]=\[7, 77\]: must be"),
        ([["7", None]], {}, r"histories\[0\]=\['7', None\]: must be"),
        ([7], {}, r"histories\[0\]=7: must be"),
        ({"ann": ["7"]}, {}, r"histories\[0\]='ann': must be"),
        ([["7"]], {"k": 0}, "k=0: must be"),
        ([["7"]], {"k": 1.5}, r"k=1\.5: must be"),
        ([["7"]], {"k": "3"}, "k='3': must be"),
        ([["7"]], {"unseen": "no"}, "unseen='no': must be"),
    ],
    ids=repr,
)
def test_what_is_no_history_is_told(
    histories: Any, options: dict[str, Any], told: str, build: Callable[..., Any]
) -> None:
    recommender = Recommender(build(SPEC), [str(number) for number in range(1, ITEMS + 1)], SPEC.max_len)
    for function in ("recommend", "look_up", "top"):  # as outside of tests, which check types
        method = inspect.unwrap(getattr(Recommender, function))
        setattr(recommender, function, method.__get__(recommender))
    with pytest.raises(InputError, match=told):
        recommender.recommend(histories, **options)


def test_a_model_that_learns_users_has_nothing_for_others(build: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="HGN can recommend only to the users"):
        Recommender(build(SPEC, "model=hgn"), NAMES, SPEC.max_len).recommend([["item-3"]])


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
    """Each user's whole history, by ids."""
    from hydra.utils import instantiate

    from tests.conftest import composed

    log = instantiate(composed(*TINY).dataset).interactions
    return {
        name: [log.item_ids[int(item) - 1] for item in log.items[log.offsets[u] : log.offsets[u + 1]]]
        for u, name in enumerate(log.user_ids)
    }


def test_a_checkpoint_alone_recommends_what_the_run_wrote(trained: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere.ckpt"
    alone.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes())
    histories = log_of(trained)
    found = adamct.load(alone).recommend(list(histories.values()))
    written = rows_of(trained / "recommendations.jsonl")
    assert written.columns == ["user", "rank", "item", "score"]
    assert written["user"].unique(maintain_order=True).cast(pl.String).to_list() == list(histories)
    for user, row in zip(histories, found, strict=True):
        rows = written.filter(pl.col("user").cast(pl.String) == user)
        assert rows["rank"].to_list() == list(range(1, 11))
        assert rows["item"].cast(pl.String).to_list() == [item for item, _ in row]
        assert rows["score"].to_list() == pytest.approx([score for _, score in row], abs=1e-5)
        assert not set(rows["item"].cast(pl.String)) & set(histories[user])


def test_formats_and_batches_hold_the_same_rows(trained: Path, tmp_path: Path, run: Run) -> None:
    tables = []
    for form, size in (("csv", 7), ("parquet", 33)):
        stage = ("stages=[predict]", f"ckpt='{trained}/checkpoints/best.ckpt'", f"predict.format={form}")
        assert run(*TINY, *stage, f"dataset.eval_batch_size={size}", f"hydra.run.dir={tmp_path / form}").code == 0
        assert {path.name for path in (tmp_path / form).glob("*recommend*")} == {f"recommendations.{form}"}
        tables.append(rows_of(tmp_path / form / f"recommendations.{form}").cast({"user": pl.Int64, "item": pl.Int64}))
    written = rows_of(trained / "recommendations.jsonl").cast({"user": pl.Int64, "item": pl.Int64})
    for table in tables:
        assert table.select("user", "rank", "item").equals(written.select("user", "rank", "item"), null_equal=True)


def test_some_users_and_other_people(trained: Path, tmp_path: Path, run: Run) -> None:
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


def test_a_list_of_users_is_read_as_it_is_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    user_ids = pl.Series(["ann", "bob", " bob", "Zoë", "eve"])
    log = Interactions(np.arange(1, 11, dtype=np.int32), np.arange(0, 11, 2), np.arange(10), user_ids, user_ids)
    (tmp_path / "users.txt").write_bytes(
        "\ufeffeve\r\n\r\n  Zoë \t\r\n bob\r\nbob\r\n\r\nstranger\r\neve\r\nother".encode()
    )
    people = users_of_log(log, tmp_path / "users.txt")
    assert people.ids.to_list() == ["eve", "Zoë", " bob", "bob"]
    assert people.users.tolist() == [4, 3, 2, 1]
    assert people.items.tolist() == [9, 10, 7, 8, 5, 6, 3, 4]
    told = "skipped users who are not in the prepared log: 2, the first 'stranger'\n"
    assert capsys.readouterr().out == f"{tmp_path / 'users.txt'}: {told}"


def test_people_without_a_known_item_are_passed_over_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log.csv"
    file.write_text("user,item,timestamp\nann,x,1\nbob,b,2\nann,y,2\nbob,x,1\nbob,a,3\neve,a,1\n")
    people = people_of_file(file, Columns(), pl.Series(["a", "b"]))
    assert people.ids.to_list() == ["bob", "eve"]
    assert people.items.tolist() == [2, 1, 1]
    assert people.offsets.tolist() == [0, 2, 3]
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: skipped items that the model does not know: 2, the first 'x'",
        f"{file}: skipped users without an item that the model knows: 1, the first 'ann'",
    ]


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["predict.users=none.txt"], ["none.txt"]),
        (["predict.users=nobody.txt"], ["nobody.txt: none of its lines is a user of the prepared log, such as '0'"]),
        (["predict.users=empty.txt"], ["empty.txt: empty"]),
        (["predict.users=utf16.txt"], ["utf16.txt: cannot be read", "UTF-8"]),
        (["predict.users=nobody.txt", "predict.histories=log.txt"], ["predict.users and predict.histories"]),
        (["predict.histories=log.txt"], ["log.txt: none of its items is known to the model, such as '1'"]),
        (["predict.format=xml"], ["predict.format=xml", "parquet"]),
        (["predict.k=0"], ["k=0"]),
        (["ckpt=null"], ["stages=['predict']", "ckpt=PATH"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_mistakes_are_told_and_leave_nothing(
    overrides: list[str], named: list[str], trained: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
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
    assert all(name in ended.line for name in named), ended.line
    assert not list(Path("out").glob("*recommendations*"))


class Payload:
    """Writes a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("key", ["ckpt", "resume"])
def test_a_run_executes_nothing_of_a_checkpoint_and_tells_weights_that_do_not_fit(
    key: str, trained: Path, tmp_path: Path, run: Run
) -> None:
    stage = ["stages=[fit]", "trainer.max_epochs=5"] if key == "resume" else ["stages=[test]"]
    given = [*TINY, *stage, f"{key}={tmp_path}/bad.ckpt", f"hydra.run.dir={tmp_path / 'out'}"]
    torch.save(Payload(tmp_path / "executed"), tmp_path / "bad.ckpt")
    assert "bad.ckpt: not a readable checkpoint" in run(*given).line
    assert not (tmp_path / "executed").exists()
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    content["state_dict"].popitem()
    torch.save(content, tmp_path / "bad.ckpt")
    ended = run(*given)
    assert "the checkpoint's weights do not fit the model: " in ended.line
    assert "\n" not in ended.line
