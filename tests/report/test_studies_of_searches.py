"""The sections of the report on studies, compared with values by hand or brute force."""

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from adamct.report.build import report
from adamct.report.inputs.blocks import Block, make_blocks
from adamct.report.inputs.runs import find_runs, find_sweeps
from adamct.report.outputs.render import show
from adamct.report.outputs.table import NONE, Table
from adamct.report.sections.claims import claims_table
from adamct.report.sections.comparison import comparison_table
from adamct.report.sections.correlation_maps import correlation_maps, near
from adamct.report.sections.costs import cost_tables
from adamct.report.sections.losses import losses_table
from adamct.report.sections.mixtures import auc, by_kind, over_training
from adamct.report.sections.order import order
from adamct.report.sections.sensitivity import alone, sensitivity
from adamct.report.statistics import compare
from adamct.runs.folder import write_arrays
from tests.report.runs import cells_of, draw, texts, write_run, write_sweep


def write_cases(folder: Path, labels: list[str]) -> None:
    """Write the config of a sweep over some labels."""
    hydra = {"sweeper": {"_target_": "some.Cases", "jobs": [["seed=1", f"label='{label}'"] for label in labels]}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": hydra}))


def block_of(folder: Path) -> Block:
    """Return the block of a folder's runs, which are on one dataset."""
    (block,) = make_blocks(find_runs([folder]), None, None, find_sweeps([folder]))
    return block


@pytest.fixture
def ablations(tmp_path: Path) -> Path:
    """Write runs of a full model, a much weaker one, a much stronger one and an equal one, in this order of cases."""
    strengths = {"full": 8.0, "without mixture": 2.0, "without local SEAtt": 40.0, "without global SEAtt": 8.0}
    for index, (label, strength) in enumerate(strengths.items()):
        keys = {"label": label, "model.parts": index}
        write_run(tmp_path / str(9 - index), "adamct", 1, draw(index, strength, users=1000), keys=keys)
    write_cases(tmp_path, list(strengths))
    return tmp_path


def test_the_first_case_is_compared_with_the_others(ablations: Path) -> None:
    names = [variant.name for variant in block_of(ablations).variants]
    assert names == [
        "adamct without mixture",
        "adamct without local SEAtt",
        "adamct without global SEAtt",
        "adamct full",
    ]


def test_claims_hold_are_contradicted_or_undecided(ablations: Path) -> None:
    block = block_of(ablations)
    table = claims_table(block, compare(block))
    assert table is not None
    cells = texts(table)
    verdicts = {label: (row[0], *row[2::2]) for label, row in cells.items()}
    assert verdicts == {
        "adamct without mixture": ("above 0", "holds", "holds", "holds"),
        "adamct without local SEAtt": ("above 0", "contradicted", "contradicted", "contradicted"),
        "adamct without global SEAtt": ("above 0", "not decided", "not decided", "not decided"),
    }
    for test in compare(block):
        column = {"uni100": 1, "full": 3, "full_unseen": 5}[test.metric.ranking]
        assert cells[test.other][column] == f"{test.difference:+.4f}"
    assert "1 holds" in table.title
    assert "It does not know how much trainings differ" in table.notes[-1]
    assert "cut short" not in " ".join(table.notes)
    assert "paper" not in cells_of(comparison_table(block, ()))["uni100 ndcg@10"]


def test_a_run_that_a_limit_ended_is_not_judged(tmp_path: Path) -> None:
    for model, strength, ended_by in (
        ("sasrec", 2.0, "limit"),
        ("core", 2.0, "patience"),
        ("hgn", 2.0, "nothing to train"),
        ("adamct", 40.0, "patience"),
    ):
        write_run(tmp_path / model, model, 1, draw(1, strength, users=1000), ended_by=ended_by)
    block = block_of(tmp_path)
    table = claims_table(block, compare(block))
    assert table is not None
    assert {label: set(cells[2::2]) for label, cells in texts(table).items()} == {
        "sasrec": {"cut short"},
        "core": {"holds"},
        "hgn": {"holds"},
    }
    assert "Cut short: a limit of epochs, steps or time ended a run of this comparison" in " ".join(table.notes)
    assert "before it stopped by itself: sasrec." in comparison_table(block, ()).notes[-1]


def test_labelled_variants_show_their_paper_values(tmp_path: Path) -> None:
    for index, label in enumerate(("adaptive both", "fixed 0.8 local 0.2 global", "my own")):
        write_run(tmp_path / label, "adamct", 1, draw(index, 4.0), keys={"label": label})
    write_cases(tmp_path, ["adaptive both"])
    block = block_of(tmp_path)
    table = comparison_table(block, ())
    paper = next(cells for label, cells in table.rows if label == "paper")
    shown = dict(zip(table.columns, (cell.text for cell in paper), strict=True))
    assert shown["adamct adaptive both"] == "0.3554"
    assert shown["adamct fixed 0.8 local 0.2 global"] == "0.3484"
    assert shown["adamct my own"] == ""
    assert "Paper: Table 3 of" in " ".join(table.notes)
    claims = claims_table(block, compare(block))
    assert claims is not None
    assert texts(claims)["adamct fixed 0.8 local 0.2 global"][0] == "+0.0070"


def test_only_a_labels_single_variant_has_paper_values(tmp_path: Path) -> None:
    for rate in (0.1, 0.2):
        keys = {"label": "full", "optimizer.lr": rate}
        write_run(tmp_path / str(rate), "adamct", 1, draw(int(rate * 10), 4.0), keys=keys)
    table = comparison_table(block_of(tmp_path), ())
    assert "paper" not in dict(table.rows)


def test_names_distinguish_variants_of_one_label(tmp_path: Path) -> None:
    for index, (label, rate) in enumerate(((None, 0.1), (None, 0.2), ("wide", 0.1))):
        write_run(tmp_path / str(index), "adamct", 1, draw(index, 4.0), keys={"label": label, "optimizer.lr": rate})
    assert {one.name for one in block_of(tmp_path).variants} == {"adamct lr=0.1", "adamct lr=0.2", "adamct wide"}


def test_panels_show_keys_that_vary_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"model.kernel_size": 5, "model.activation": "swish", "model.num_heads": 2}
    changes: list[dict[str, Any]] = [{}, *({"model.kernel_size": size} for size in (11, 3))]
    changes += [{"model.num_heads": 4}, {"model.num_heads": 8, "model.kernel_size": 7}]
    changes += [{"model.activation": name} for name in ("tanh", "gelu")]
    for index, change in enumerate(changes):
        keys = base | change | {"label": "as tuned" if not change else f"{change}"}
        write_run(tmp_path / str(index), "adamct", 1, draw(index, 4.0), keys=keys)
    write_cases(tmp_path, ["as tuned"])
    block = block_of(tmp_path)
    names = {key: {value: one.name for value, one in values.items()} for key, values in alone(block).items()}
    assert list(names["model.kernel_size"]) == ["3", "5", "11"]
    assert names["model.kernel_size"]["5"] == names["model.activation"]["swish"] == "adamct as tuned"
    assert list(names["model.activation"]) == ["gelu", "swish", "tanh"]
    assert list(names["model.num_heads"]) == ["2", "4"]  # the variant with 8 heads also differs in its kernel
    (drawing,) = sensitivity(block)
    panels = {axes.get_xlabel(): axes for axes in drawing.figure.axes}
    assert set(panels) == {"kernel size", "activation"}  # two values are too few for a panel
    monkeypatch.setattr("adamct.report.sections.sensitivity.FEWEST", 2)
    monkeypatch.setattr("adamct.report.sections.sensitivity.ACROSS", 2)
    (wider,) = sensitivity(block)
    assert {axes.get_xlabel() for axes in wider.figure.axes} == {"kernel size", "activation", "num heads"}
    points = [line for line in panels["kernel size"].lines if line.get_marker() == "D"]
    assert [list(map(float, line.get_ydata())) for line in points] == [[0.3489, 0.3521, 0.3528]]  # pyright: ignore


def test_order_shows_what_shuffling_loses(tmp_path: Path) -> None:
    for model, values in {"adamct": (0.4, 0.3), "hgn": (0.2, 0.2), "sasrec": (0.5, None)}.items():
        for shuffled, value in zip((False, True), values, strict=True):
            if value is not None:
                write_run(
                    tmp_path / f"{model}{shuffled}",
                    model,
                    1,
                    keys={"dataset.shuffle_histories": shuffled},
                    metrics={"val/uni100/ndcg@10": 0.5, "test/uni100/ndcg@10": value, "test/full/ndcg@10": value / 4},
                )
    table, drawing = order(block_of(tmp_path))
    assert isinstance(table, Table)
    assert texts(table) == {
        "adamct": ["0.4000", "0.3000", "25.0 %", "0.1000", "0.0750", "25.0 %"],
        "hgn": ["0.2000", "0.2000", "0.0 %", "0.0500", "0.0500", "0.0 %"],
    }
    assert not isinstance(drawing, Table)


def test_losses_are_compared_by_model(tmp_path: Path) -> None:
    runs = [
        ("adamct", "CrossEntropy", 0.1, 0.5, 0.4),
        ("adamct", "Bpr", 0.1, 0.5, 0.2),
        ("adamct", "Bpr", 0.3, 0.6, 0.1),  # the better by validation, not by the test
        ("sasrec", "CrossEntropy", 0.1, 0.5, 0.3),
        ("sasrec", "Bce", 0.1, 0.5, 0.1),
        ("core", "CrossEntropy", 0.1, 0.9, 0.9),  # has only one loss
    ]
    for index, (model, loss, rate, validated, tested) in enumerate(runs):
        keys = {"loss._target_": f"some.{loss}", "optimizer.lr": rate}
        metrics = {"val/uni100/ndcg@10": validated, "test/uni100/ndcg@10": tested, "test/full/ndcg@10": tested / 4}
        write_run(tmp_path / str(index), model, 1, keys=keys, metrics=metrics)
    table = losses_table(block_of(tmp_path))
    assert table is not None
    assert table.columns == tuple(f"{model} {r} ndcg@10" for r in ("uni100", "full") for model in ("sasrec", "adamct"))
    assert texts(table) == {
        "Bce": ["0.1000", NONE, "0.0250", NONE],
        "Bpr": [NONE, "0.1000", NONE, "0.0250"],
        "CrossEntropy": ["0.3000", "0.4000", "0.0750", "0.1000"],
    }
    assert cells_of(table)["CrossEntropy"]["adamct uni100 ndcg@10"].mark == "best"
    assert losses_table(block_of(write_sweep(tmp_path / "one loss"))) is None


def test_auc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    values, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = [(one > other) + (one == other) / 2 for one in values[positive] for other in values[~positive]]
    assert auc(values, positive) == pytest.approx(np.mean(pairs))


def test_coefficients_are_compared_by_kind_of_user(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "adamct", 1, draw(1, 4.0))
    assert by_kind(block_of(tmp_path)) == []
    alpha, kind = np.repeat([0.1, 0.2, 0.8, 0.9], 50), np.repeat([True, False], 100)
    write_arrays(folder / "coefficients.npz", {"layer1": alpha, "layer2": 1 - alpha, "taste-driven": kind})
    table, _ = by_kind(block_of(tmp_path))
    assert isinstance(table, Table)
    assert texts(table) == {
        "seed 1, layer 1": ["taste-driven", "0.150", "0.850", "1.000"],
        "seed 1, layer 2": ["taste-driven", "0.850", "0.150", "0.000"],
    }
    np.savez(folder / "coefficients.npz", layer1=alpha)  # of a real log
    assert by_kind(block_of(tmp_path)) == []


def test_coefficients_over_training_equal_the_log(tmp_path: Path) -> None:
    values = {"mean": [0.7, None, 0.5], "std": [0.1, None, 0.1], "user0": [0.6, None, 0.4], "user1": [0.8, None, 0.9]}
    history = {f"mixture/layer{layer}/{kind}": series for layer in (1, 2) for kind, series in values.items()}
    write_run(tmp_path / "a", "adamct", 1, draw(1, 4.0), history=history)
    (drawing,) = over_training(block_of(tmp_path))
    followed, average = drawing.figure.axes
    assert {str(line.get_label()) for line in followed.lines} == {
        f"user {u}, layer {n}" for u in (0, 1) for n in (1, 2)
    }
    assert [list(line.get_xdata()) for line in average.lines] == [[1, 3], [1, 3]]  # the second epoch had no validation  # pyright: ignore
    assert [list(map(float, line.get_ydata())) for line in average.lines] == [[0.7, 0.5], [pytest.approx(0.3), 0.5]]  # pyright: ignore
    assert "from 0.700 after the first epoch to 0.500 after the last, towards the global branch" in drawing.caption


def test_maps_show_the_share_of_near_positions(tmp_path: Path) -> None:
    uniform = np.full((1, 10, 10), 0.1)
    # Of ten positions, those within three: 4, 5, 6, 7, 7, 7, 7, 6, 5 and 4 of ten.
    assert near(uniform, np.array([10])) == pytest.approx(0.58)
    folder = write_run(tmp_path / "a", "adamct", 1, draw(1, 4.0))
    assert correlation_maps(block_of(tmp_path)) == []
    maps = {"local": np.eye(10)[None], "global": uniform, "mixture": uniform}
    facts = {"user": np.array([7]), "seq_len": np.array([10]), "item_seq": np.ones((1, 10))}
    np.savez(folder / "item_correlations.npz", **maps, **facts)
    (drawing,) = correlation_maps(block_of(tmp_path))
    assert "1.00 local, 0.58 global, 0.58 mixture; 0.58 if all weights were equal." in drawing.caption
    assert [axes.get_title() for axes in drawing.figure.axes[:3]] == ["local", "global", "mixture"]


@pytest.mark.slow
def test_maps_of_many_users_fit_a_figure(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "adamct", 1, draw(1, 4.0))
    maps = {part: np.full((150, 4, 4), 0.25) for part in ("local", "global", "mixture")}
    write_arrays(folder / "item_correlations.npz", {"user": np.arange(150), "seq_len": np.full(150, 4), **maps})
    (drawing,) = correlation_maps(block_of(tmp_path))
    assert drawing.figure.get_size_inches()[1] == 40  # at 160 dots an inch; a PNG can have 65,535


def test_costs_are_also_compared_at_one_hidden_size(tmp_path: Path) -> None:
    for model, size, label in (("sasrec", 64, None), ("core", 64, None), ("adamct", 16, None), ("adamct", 64, "wide")):
        keys = {"model.hidden_size": size, "label": label}
        write_run(tmp_path / f"{model}{size}", model, 1, draw(size, 4.0), keys=keys)
    write_cases(tmp_path, ["", "wide"])
    every, equal = cost_tables(block_of(tmp_path))
    rows = [(label, [cell.text for cell in cells]) for label, cells in every.rows]
    paper_rows = {label: rows[index + 1] for index, (label, _) in enumerate(rows[:-1])}
    assert paper_rows["adamct"][0] == paper_rows["sasrec"][0] == "paper"
    assert paper_rows["sasrec"][1] == ["880,000", "4.98", "3.65", "22.48", "", "2,365", "0.3424"]
    assert paper_rows["adamct"][1][:2] == ["210,000", "0.34"]
    assert paper_rows["adamct wide"][0] == "adamct"  # the compared variant, which the paper does not have
    assert [label for label, _ in equal.rows if label != "paper"] == ["sasrec", "core", "adamct wide"]
    assert equal.title.endswith("cost at hidden size 64")


def test_a_narrow_terminal_shows_the_tested_metric(tmp_path: Path) -> None:
    for index in range(8):
        write_run(
            tmp_path / str(index), "adamct", 1, draw(index, 4.0), keys={"label": f"a label of some length, {index}"}
        )
    terminal = Console(file=StringIO(), width=70)
    show(comparison_table(block_of(tmp_path), ()), terminal)
    printed = terminal.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(f"adamct a label of some length, {index} " in printed for index in range(8))
    assert "uni100" in printed
    assert "recall" not in printed


def test_a_report_of_a_study_has_its_claims(ablations: Path) -> None:
    with (ablations / "terminal.txt").open("w") as file:
        written = report([ablations], ablations / "report", console=Console(file=file, width=200))
    assert [table.name for table in written.tables][:2] == ["beauty", "beauty_claims"]
    assert "contradicted" in (written.out / "report.html").read_text()
