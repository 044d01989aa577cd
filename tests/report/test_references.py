"""The table of references, also of records that lack some or all of them."""

from pathlib import Path

from adamct.report.outputs.table import NONE
from adamct.report.sections.references import references_table
from tests.report.runs import block_of, draw, texts, write_run, write_sweep


def test_references_are_means_over_the_runs_that_recorded_them(tmp_path: Path) -> None:
    popularity = [{"test/full/ndcg@10": value} for value in (0.01, 0.02, 0.06)]
    recorded = [
        {"popularity": popularity[0]},  # before there was another reference
        {"popularity": popularity[1], "markov": {"test/full/ndcg@10": 0.5}},
        {"popularity": popularity[2], "markov": {"test/full/ndcg@10": 0.25}},
    ]
    for seed, references in enumerate(recorded, 1):
        write_run(tmp_path / str(seed), "sasrec", seed, draw(seed, 4.0), references=references)
    table = references_table(block_of(tmp_path))
    assert table is not None
    assert table.columns == ("Popularity", "Markov chain")
    assert texts(table)["full ndcg@10"] == ["0.0300", "0.3750"]
    assert texts(table)["uni100 ndcg@10"] == [NONE, NONE]


def test_runs_without_references_have_no_table(tmp_path: Path) -> None:
    assert references_table(block_of(write_sweep(tmp_path))) is None
