"""The metric by kind of user and the recommended items, compared with values by hand."""

from pathlib import Path

import numpy as np

from adamct.evaluation.gains import gains
from adamct.report.outputs.table import NONE, Table
from adamct.report.sections.served import KINDS, bin_names, recommended_table, served
from tests.report.runs import block_of, draw, kinds_of_users, scores, texts, write_run


def test_bins_partition_the_users(tmp_path: Path) -> None:
    ranks, facts = draw(1, 6.0), kinds_of_users()
    write_run(tmp_path / "a", "adamct", 1, ranks, facts=facts)
    table, _ = served(block_of(tmp_path))
    assert isinstance(table, Table)
    for kind in KINDS:
        rows = [f"full_unseen: {kind.row.format(numbers)}" for numbers in bin_names(kind.starts)]
        values = np.array([list(map(float, texts(table)[row])) for row in rows if row in texts(table)])
        assert values[:, 0].sum() == 200
        average = np.average(values[:, 1], weights=values[:, 0])
        assert abs(average - gains(ranks["full_unseen"], "ndcg@10").mean()) < 1e-4


def test_only_the_best_variants_are_shown_by_kind(tmp_path: Path) -> None:
    for depth in range(14):
        ranks, keys = draw(1, 4.0), {"model.depth": depth}
        metrics = {"val/uni100/ndcg@10": depth / 100} | scores(ranks, "test")
        write_run(tmp_path / str(depth), "hgn", 1, ranks, facts=kinds_of_users(), keys=keys, metrics=metrics)
    table, drawing = served(block_of(tmp_path))
    assert isinstance(table, Table)
    assert not isinstance(drawing, Table)
    assert table.columns == ("users", "depth=13", *(f"depth={depth}" for depth in range(2, 13)))
    assert table.notes[-1] == "The 12 best of 14 variants by validation."
    assert len(drawing.figure.axes[0].lines) == 6
    assert "The 6 best of 14 variants by validation." in drawing.caption


def test_values_are_means_over_the_users_of_a_bin(tmp_path: Path) -> None:
    ranks = {"full": np.array([1, 11, 3, 0, 1, 3]), "uni100": np.array([1, 1, 3, 0, 1, 30])}
    facts = {"target_count": np.array([0, 5, 6, 7, 60, 60]), "history_len": np.array([4, 4, 5, 9, 49, 200])}
    write_run(tmp_path / "a", "adamct", 1, ranks, facts=facts)
    write_run(
        tmp_path / "b",
        "adamct",
        2,
        {"full": ranks["full"] + 10 * (ranks["full"] == 1), "uni100": ranks["uni100"]},
        facts=facts,
    )
    write_run(tmp_path / "c", "core", 1, ranks)  # without the kinds
    table, drawing = served(block_of(tmp_path))
    assert isinstance(table, Table)
    assert table.columns == ("users", "AdaMCT")
    assert texts(table) == {
        "uni100: target 0 times in training": ["1", "1.0000"],
        "uni100: target 1 to 5 times in training": ["1", "1.0000"],
        "uni100: target 6 to 10 times in training": ["1", "0.5000"],
        "uni100: target 51 or more times in training": ["2", "0.5000"],
        "full: target 0 times in training": ["1", "0.5000"],
        "full: target 1 to 5 times in training": ["1", "0.0000"],
        "full: target 6 to 10 times in training": ["1", "0.5000"],
        "full: target 51 or more times in training": ["2", "0.5000"],
        "uni100: 1 to 4 items before": ["2", "1.0000"],
        "uni100: 5 to 9 items before": ["1", "0.5000"],
        "uni100: 20 to 49 items before": ["1", "1.0000"],
        "uni100: 50 or more items before": ["1", "0.0000"],
        "full: 1 to 4 items before": ["2", "0.2500"],
        "full: 5 to 9 items before": ["1", "0.5000"],
        "full: 20 to 49 items before": ["1", "0.5000"],
        "full: 50 or more items before": ["1", "0.5000"],
    }
    assert not isinstance(drawing, Table)
    assert len(drawing.figure.axes) == 4
    assert all(axes.get_xlim()[0] < 0 for axes in drawing.figure.axes)  # the first bin is not at the edge


def test_a_ranking_without_a_hit_can_be_drawn(tmp_path: Path) -> None:
    ranks = draw(1, 4.0)
    write_run(tmp_path / "a", "adamct", 1, ranks | {"full": ranks["full"] + 10}, facts=kinds_of_users())
    _, drawing = served(block_of(tmp_path))
    assert not isinstance(drawing, Table)
    assert drawing.svg


def test_without_kinds_of_users_there_is_no_table(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "adamct", 1, draw(1, 4.0))
    assert served(block_of(tmp_path)) == []
    assert recommended_table(block_of(tmp_path)) is None


def test_recommended_items_show_mean_and_deviation(tmp_path: Path) -> None:
    for seed, coverage in ((1, 0.5), (2, 0.7)):
        listed = {"coverage@10": coverage, "popularity@10": 1234.56, "gini@10": 0.25}
        metrics = {"val/uni100/ndcg@10": 0.5, "test/uni100/ndcg@10": 0.4}
        metrics |= {f"test/full_unseen/{name}": value for name, value in listed.items()}
        write_run(tmp_path / str(seed), "adamct", seed, metrics=metrics)
    write_run(tmp_path / "core", "core", 1, metrics={"val/uni100/ndcg@10": 0.5, "test/uni100/ndcg@10": 0.4})
    table = recommended_table(block_of(tmp_path))
    assert table is not None
    assert table.columns == ("full_unseen coverage@10", "full_unseen popularity@10", "full_unseen gini@10")
    assert {label: list(map(str, cells)) for label, cells in table.rows} == {
        "CORE": [NONE] * 3,
        "AdaMCT": ["0.6000 ± 0.1414", "1,234.6 ± 0.0", "0.2500 ± 0.0000"],
    }
