"""The table of published results beside our own."""

from pathlib import Path
from statistics import mean

import pytest

from adamct.evaluation.names import FULL, FULL_UNSEEN
from adamct.report.inputs.published import SOURCES, published
from adamct.report.outputs.table import NONE
from adamct.report.sections.published import published_table
from tests.conftest import CONF
from tests.report.runs import block_of, draw, scores, write_run


@pytest.mark.parametrize("dataset", ["beauty", "sports", "toys"])
def test_published_results_name_a_source_and_a_model(dataset: str) -> None:
    models = {path.stem for path in (CONF / "model").glob("*.yaml")} | {""}
    results = published(dataset)
    assert results
    assert {result.source for result in results} <= set(SOURCES)
    assert {result.model for result in results} <= models
    assert all(0 < result.ndcg < result.recall < 1 for result in results)


def test_ours_is_of_the_ranking_that_treats_seen_items_the_same(tmp_path: Path) -> None:
    ranks = {seed: draw(seed, 4.0) for seed in (1, 2)}
    for seed, drawn in ranks.items():
        write_run(tmp_path / str(seed), "sasrec", seed, drawn)
    table = published_table(block_of(tmp_path))
    assert table is not None
    rows = {(label, cells[-1].text): [cell.text for cell in cells] for label, cells in table.rows}
    tested = [scores(drawn, "test") for drawn in ranks.values()]
    for key, ranking in (
        (("SASRec, cross-entropy", "RecBole"), FULL),
        (("SASRec, sampled softmax", "eSASRec"), FULL_UNSEEN),
    ):
        ours = [f"{mean(test[f'test/{ranking}/{name}@10'] for test in tested):.4f}" for name in ("recall", "ndcg")]
        assert rows[key][2:4] == ours
    assert rows["SASRec, cross-entropy", "RecBole"][:2] == ["0.0830", "0.0416"]
    assert rows["TIGER", "TIGER"][2:4] == [NONE, NONE]


def test_there_is_no_table_without_a_published_model(tmp_path: Path) -> None:
    write_run(tmp_path / "core", "core", 1, draw(1, 4.0))
    write_run(tmp_path / "other", "sasrec", 1, draw(1, 4.0), dataset="synthetic")
    assert published_table(block_of(tmp_path / "core")) is None
    assert published_table(block_of(tmp_path / "other")) is None
