"""The comparison of variants: their names, the compared one, and tests of their differences."""

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from adamct.errors import InputError
from adamct.report.inputs.blocks import make_blocks
from adamct.report.inputs.runs import find_runs
from adamct.report.inputs.titles import MODELS, STUDIES, model_title
from adamct.report.outputs.render import show
from adamct.report.outputs.report import Report
from adamct.report.outputs.table import RHO
from adamct.report.resampling import resample
from adamct.report.sections.comparison import comparison_table
from adamct.report.sections.significance import significance_table
from adamct.report.statistics import compare, holm
from tests.conftest import CONF
from tests.report.runs import (
    EPOCHS,
    block_of,
    cells_of,
    draw,
    make_report,
    table_of,
    write_run,
)


def test_only_a_models_single_variant_has_paper_values(tmp_path: Path) -> None:
    for rate in (0.001, 0.01):
        write_run(tmp_path / str(rate), "sasrec", 1, draw(1, 4.0 + rate), keys={"optimizer.lr": rate})
    write_run(tmp_path / "adamct", "adamct", 1, draw(2, 8.0))
    table = table_of(block_of(tmp_path))
    paper = {label: row["uni100 recall@1"].paper for label, row in cells_of(table).items()}
    assert paper == {"AdaMCT": "0.2178", "SASRec lr=0.001": "", "SASRec lr=0.01": ""}


def test_variant_names_show_the_differing_overrides(tmp_path: Path) -> None:
    keys = [
        {"model.parts.gate._target_": "a.b.Fixed", "model.parts.gate.weight": 0.5, "model.dropout": 0.1},
        {"model.parts.gate._target_": "a.b.Fixed", "model.parts.gate.weight": 0.8, "model.dropout": 0.1},
        {"model.parts.gate._target_": "a.b.Learnt", "model.dropout": 0.2},
    ]
    for index, overrides in enumerate(keys):
        write_run(tmp_path / str(index), "adamct", 1, draw(index, 4.0), keys=overrides)
    assert {variant.name for variant in block_of(tmp_path).variants} == {
        "dropout=0.1 gate=Fixed weight=0.5",
        "dropout=0.1 gate=Fixed weight=0.8",
        "dropout=0.2 gate=Learnt",
    }


def test_the_model_is_named_only_where_models_differ(tmp_path: Path) -> None:
    assert model_title("my_own") == "my_own"
    assert set(MODELS) <= {path.stem for path in (CONF / "model").glob("*.yaml")}
    assert set(STUDIES) | {"search"} == {path.stem for path in (CONF / "sweep").glob("*.yaml")}
    for index, (model, label) in enumerate((("adamct", "as released"), ("adamct_paper", "all of the equations"))):
        write_run(tmp_path / model, model, 1, draw(index, 4.0), keys={"label": label})
    assert [variant.name for variant in block_of(tmp_path).variants] == ["as released", "all of the equations"]
    write_run(tmp_path / "core", "core", 1, draw(3, 4.0))
    block = block_of(tmp_path)
    assert {variant.name for variant in block.variants} == {
        "AdaMCT as released",
        "AdaMCT (equations) all of the equations",
        "CORE",
    }
    assert (block.title, block.subject) == ("Beauty", "AdaMCT and 2 other models")


def test_every_variant_is_a_row(tmp_path: Path) -> None:
    for index in range(13):
        write_run(tmp_path / f"{index}", "hgn", 1, draw(index, 4.0), keys={"model.depth": index})
    table = table_of(block_of(tmp_path))
    assert len(table.rows) == 13
    assert table.columns[:2] == ("seeds", "uni100 recall@1")
    terminal = Console(file=StringIO(), width=80)
    show(table, terminal)
    printed = terminal.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(f"depth={index} " in printed for index in range(13))


def test_adamct_or_the_named_model_is_compared(sweep: Path) -> None:
    assert block_of(sweep).chosen.name == "AdaMCT"
    assert all(block_of(sweep, name).chosen.name == "CORE" for name in ("core", "CORE"))
    table = table_of(block_of(sweep, "core"))
    assert [label for label, _ in table.rows] == ["CORE", "SASRec", "AdaMCT", "improvement"]
    assert table.compared == "CORE"
    with pytest.raises(InputError, match="--model caser: must be one of AdaMCT, CORE, SASRec, adamct, core, sasrec"):
        block_of(sweep, "caser")


def test_without_adamct_validation_chooses_the_model(tmp_path: Path) -> None:
    for model, val, test in (("sasrec", 0.3, 0.9), ("hgn", 0.4, 0.1)):
        metrics = {"val/uni100/ndcg@10": val, "test/uni100/ndcg@10": test}
        write_run(tmp_path / model, model, 1, metrics=metrics)
    assert block_of(tmp_path).chosen.name == "HGN"


def test_holm_equals_an_example_worked_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_comparisons_equal_tests_of_the_raw_vectors(sweep: Path) -> None:
    tests = {(test.metric.short, test.other): test for test in compare(block_of(sweep))}
    assert len(tests) == 6

    def gains(model: str, seed: int) -> np.ndarray:
        with np.load(sweep / f"{model}-{seed}" / "ranks.npz") as ranks:
            return np.where(ranks["full"] <= 10, 1 / np.log2(ranks["full"] + 1.0), 0.0)

    differences = np.array([gains("adamct", seed) - gains("sasrec", seed) for seed in (1, 2)])
    test = tests["full/ndcg@10", "SASRec"]
    assert (test.low, test.high, test.p) == pytest.approx(resample([differences])[0])
    assert test.difference == pytest.approx(differences.mean())
    assert test.low < test.difference < test.high
    assert (test.seeds, test.users) == (2, 200)
    assert test.wins == sum(gains("adamct", seed).mean() > gains("sasrec", seed).mean() for seed in (1, 2))
    pair = [tests["full/ndcg@10", other] for other in ("SASRec", "CORE")]
    assert [test.p_holm for test in pair] == pytest.approx(holm([test.p for test in pair]))


def test_stars_mark_significant_differences(tmp_path: Path) -> None:
    for seed, (model, strength) in enumerate((("sasrec", 4.0), ("core", 40.0), ("adamct", 40.0))):
        write_run(tmp_path / model, model, 1, draw(seed, strength))
    block = block_of(tmp_path)
    tests = compare(block)
    cells = [(column, label, cell) for label, row in cells_of(table_of(block)).items() for column, cell in row.items()]
    starred = {(metric.replace(" ", "/"), label) for metric, label, cell in cells if cell.star}
    assert starred == {(test.metric.short, test.other) for test in tests if test.p_holm < 0.05}
    assert {label for _, label in starred} == {"SASRec"}
    assert not any(cell.star for _, row in comparison_table(block, ()).rows for cell in row)


def test_notes_give_the_agreement_of_each_two_rankings(written: Report) -> None:
    notes = next(table for table in written.tables if table.name == "beauty_rankings").notes
    pairs = [note.partition(":")[0] for note in notes[1:]]
    assert pairs == ["uni100 and full", "uni100 and full_unseen", "full and full_unseen"]
    assert notes[1].endswith(f"Kendall's τ = 1.00, Spearman's {RHO} = 1.00.")


def test_another_metric_is_tested_besides_ndcg(sweep: Path) -> None:
    tested = {test.metric.short for test in compare(block_of(sweep, metric="test/full/recall@5"))}
    assert tested == {f"{ranking}/{name}" for ranking in EPOCHS for name in ("ndcg@10", "recall@5")}
    with pytest.raises(InputError, match="--metric full/recall@7"):
        block_of(sweep, metric="test/full/recall@7")


def test_only_means_over_users_can_be_tested(tmp_path: Path) -> None:
    metrics = {"val/uni100/ndcg@10": 0.5, "test/uni100/ndcg@10": 0.4, "test/full/gini@10": 0.9}
    write_run(tmp_path / "a", "core", 1, metrics=metrics)
    with pytest.raises(InputError, match=r"--metric full/gini@10: must be one of uni100/ndcg@10 on beauty$"):
        block_of(tmp_path, metric="full/gini@10")


def test_users_without_a_test_item_are_left_out(tmp_path: Path) -> None:
    for model, strength in (("core", 3.0), ("adamct", 6.0)):
        ranks = {name: np.where(np.arange(200) < 50, 0, values) for name, values in draw(1, strength).items()}
        write_run(tmp_path / model, model, 1, ranks)
    assert {test.users for test in compare(block_of(tmp_path))} == {150}


def test_variants_without_a_common_seed_are_not_tested(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "adamct", 1, draw(1, 4.0))
    write_run(tmp_path / "b", "core", 2, draw(2, 4.0))
    block = block_of(tmp_path)
    assert compare(block) == []
    table = significance_table(block, [])
    assert table is not None
    assert table.notes[-1] == (
        "Not compared, because no tested seed is in common with AdaMCT (seed 1), or no metric: CORE."
    )


@pytest.mark.parametrize(
    ("difference", "named"),
    [
        ({"sha256": "1" * 64}, "dataset.sha256"),
        ({"keys": {"dataset.negatives.count": 20}}, "dataset.negatives.count"),
        ({"keys": {"dataset.negatives.exclude": "target"}}, "dataset.negatives.exclude"),
        ({"dataset": "toys"}, None),
    ],
)
def test_runs_under_another_protocol_are_refused(sweep: Path, difference: dict[str, Any], named: str | None) -> None:
    write_run(sweep / "other", "hgn", 1, draw(1, 3.0), **difference)
    if named is None:
        assert len(make_blocks(find_runs([sweep]), None, None)) == 2
        return
    with pytest.raises(InputError) as refused:
        make_report(sweep)
    line = str(refused.value)
    assert all(word in line for word in (named, str(sweep / "other"), str(sweep / "adamct-1")))
    assert "\n" not in line
    assert not (sweep / "report").exists()


def test_two_runs_with_the_same_seed_are_refused(sweep: Path) -> None:
    write_run(sweep / "again", "core", 2, draw(9, 3.0))
    with pytest.raises(InputError, match=r"again and .*core-2 are the same experiment with the same seed=2"):
        block_of(sweep)
