"""A run of the reader's own beside a record of other runs."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from adamct.errors import InputError
from adamct.report.build import report
from adamct.report.inputs.blocks import Block, make_blocks
from adamct.report.inputs.runs import find_runs
from adamct.report.outputs.report import Report
from adamct.report.outputs.table import NONE
from adamct.report.statistics import compare
from tests.report.runs import draw, kinds_of_users, scores, texts, write_run, write_sweep

UNKNOWN = 500
"""The rank of a test item that no list has."""


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return write_sweep(tmp_path / "record")


def write_lists(folder: Path, depth: int = 10) -> Path:
    """Write the run of evaluated lists: two rankings, and metrics up to a depth."""
    ranks = {name: values.astype(int) for name, values in draw(7, 6.0).items() if name != "uni100"}
    ranks = {name: np.where(values > depth, UNKNOWN, values) for name, values in ranks.items()}
    metrics = {key: value for key, value in scores(ranks, "test").items() if int(key.partition("@")[2] or 99) <= depth}
    nothing = {"cost": {}, "chosen": {}, "history": {}, "ended_by": "nothing to train"}
    keys = {"monitor": None}
    return write_run(folder, "My model", 1, ranks, facts=kinds_of_users(), keys=keys, metrics=metrics, **nothing)


def written(folders: list[Path], out: Path) -> Report:
    with (out.parent / "terminal.txt").open("w") as file:
        return report(folders, out, console=Console(file=file, width=200))


def block_of(*folders: Path, metric: str | None = None) -> Block:
    (block,) = make_blocks(find_runs(folders), None, metric, folders=folders)
    return block


def test_evaluated_lists_are_compared_with_a_record(record: Path, tmp_path: Path, undrawn: None) -> None:
    lists = write_lists(tmp_path / "my_run")
    content = written([lists, record], tmp_path / "out")
    tables = {table.name: table for table in content.tables}
    assert content.blocks[0].chosen.name == "My model"
    assert str(content.blocks[0].metric) == "test/full/ndcg@10"
    assert [label for label, _ in tables["beauty_tests"].rows] == [
        f"{ranking} ndcg@10: {other}" for ranking in ("full", "full_unseen") for other in ("SASRec", "CORE", "AdaMCT")
    ]
    main = tables["beauty"]
    assert dict(zip(main.columns, texts(main)["My model"], strict=True))["uni100 ndcg@10"] == NONE
    assert texts(tables["beauty_rankings"])["My model"][:2] == [NONE, NONE]
    assert "My model" not in texts(tables["beauty_cost"])
    assert not any("My model" in note for note in tables["beauty"].notes if "limit of epochs" in note)
    assert "beauty_dots" in {drawing.name for drawing in content.drawings}


def test_evaluated_lists_alone_make_a_report(tmp_path: Path, undrawn: None) -> None:
    content = written([write_lists(tmp_path / "my_run")], tmp_path / "out")
    assert str(content.blocks[0].metric) == "test/full_unseen/ndcg@10"
    assert "beauty_cost" not in {table.name for table in content.tables}


def test_a_metric_beyond_the_lists_is_not_tested(record: Path, tmp_path: Path) -> None:
    lists = write_lists(tmp_path / "my_run", depth=5)
    block = block_of(lists, record)
    assert block.chosen.mean(block.metric) is not None
    assert compare(block_of(lists, record, metric="full/ndcg@10")) == []
    tested = compare(block_of(lists, record, metric="full/ndcg@5"))
    assert {test.metric.name for test in tested} == {"ndcg@5"}


def test_an_ordinary_run_is_compared_with_a_record(record: Path, tmp_path: Path) -> None:
    own = write_run(tmp_path / "my_run", "hgn", 2, draw(5, 5.0))
    assert block_of(own, record).chosen.name == "HGN"
    assert block_of(tmp_path, record).chosen.name == "AdaMCT"


def test_a_rerun_is_compared_with_its_original(record: Path, tmp_path: Path) -> None:
    again = write_run(tmp_path / "my_run", "core", 2, draw(9, 5.0))
    block = block_of(again, record)
    assert block.chosen.name == "CORE in my_run"
    assert {variant.name for variant in block.others} == {"AdaMCT", "SASRec", "CORE"}
    with pytest.raises(InputError, match="leave out one, or give one another label"):
        block_of(tmp_path)


def test_other_negatives_of_the_same_seed_are_refused(record: Path, tmp_path: Path) -> None:
    own = write_run(tmp_path / "my_run", "hgn", 1, draw(5, 5.0), keys={"dataset.negatives.seed": 9})
    with pytest.raises(InputError, match=r"differ in dataset\.negatives\.seed \((1 and 9|9 and 1)\)"):
        block_of(own, record)
