"""The sections of the report on studies, compared with values by hand or brute force."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from adamct.evaluation.names import Metric
from adamct.report.build import block_parts, comparisons_of
from adamct.report.outputs.render import show
from adamct.report.outputs.table import NONE, Table
from adamct.report.sections.comparison import comparison_table
from adamct.report.sections.correlation_maps import correlation_maps, near
from adamct.report.sections.costs import cost_tables
from adamct.report.sections.curves import curves
from adamct.report.sections.dots import dots
from adamct.report.sections.limits import banner
from adamct.report.sections.losses import losses_table
from adamct.report.sections.mixtures import auc, by_kind, over_training
from adamct.report.sections.order import order, order_pairs
from adamct.report.sections.sensitivity import alone, sensitivity
from adamct.report.statistics import compare
from adamct.runs.folder import write_arrays
from tests.report.runs import block_of, cells_of, draw, texts, write_cases, write_run, write_sweep


def test_a_banner_counts_the_runs_that_were_still_rising(tmp_path: Path) -> None:
    for seed, course in enumerate(([0.1, 0.2, 0.3], [0.3, None, 0.2], [0.4]), 1):
        history = {"val/uni100/ndcg@10": course}
        write_run(tmp_path / str(seed), "sasrec", seed, draw(seed, 4.0), history=history, ended_by="limit")
    assert banner(block_of(tmp_path)).startswith(
        "At most 3 epochs: 3 of 3 runs did not stop by themselves; still rising: 1."
    )
    write_run(tmp_path / "other" / "a", "sasrec", 1, draw(1, 4.0))
    assert banner(block_of(tmp_path / "other")) == ""


def test_only_a_labels_single_variant_has_paper_values(tmp_path: Path) -> None:
    for rate in (0.1, 0.2):
        keys = {"label": "full", "optimizer.lr": rate}
        write_run(tmp_path / str(rate), "adamct", 1, draw(int(rate * 10), 4.0), keys=keys)
    table = comparison_table(block_of(tmp_path), ())
    assert not any(cell.paper for row in cells_of(table).values() for cell in row.values())


def test_names_distinguish_variants_of_one_label(tmp_path: Path) -> None:
    for index, (label, rate) in enumerate(((None, 0.1), (None, 0.2), ("wide", 0.1))):
        write_run(tmp_path / str(index), "adamct", 1, draw(index, 4.0), keys={"label": label, "optimizer.lr": rate})
    assert {one.name for one in block_of(tmp_path).variants} == {"lr=0.1", "lr=0.2", "wide"}


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
    assert names["model.kernel_size"]["5"] == names["model.activation"]["swish"] == "as tuned"
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
    block = block_of(tmp_path)
    table, drawing = order(block, order_pairs(block))
    assert isinstance(table, Table)
    assert {label: cells[:3] for label, cells in texts(table).items()} == {
        "uni100 ndcg@10: AdaMCT": ["0.4000", "0.3000", "+0.1000"],
        "uni100 ndcg@10: HGN": ["0.2000", "0.2000", "+0.0000"],
        "full ndcg@10: AdaMCT": ["0.1000", "0.0750", "+0.0250"],
        "full ndcg@10: HGN": ["0.0500", "0.0500", "+0.0000"],
    }
    assert not isinstance(drawing, Table)


def test_order_is_tested_within_each_model(tmp_path: Path) -> None:
    for model, strengths in {"adamct": (8.0, 2.0), "hgn": (3.0, 3.0)}.items():
        for shuffled, strength in zip((False, True), strengths, strict=True):
            keys = {"dataset.shuffle_histories": shuffled}
            write_run(tmp_path / f"{model}{shuffled}", model, 1, draw(1, strength, users=1000), keys=keys)
    block = block_of(tmp_path)
    table, *others = block_parts(block, comparisons_of(block), [])
    assert isinstance(table, Table)
    assert table.name == "beauty_order"
    stars = {label for label, cells in texts(table).items() if cells[5].endswith("*")}
    assert stars == {f"{ranking} ndcg@10: AdaMCT" for ranking in ("uni100", "full", "full_unseen")}
    # HGN is not compared with AdaMCT: that is not the question.
    assert not {"beauty_claims", "beauty_tests", "beauty_dots"} & {part.name for part in others}
    assert "improvement" not in texts(comparison_table(block, ()))


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
    assert table.columns == tuple(f"{model} {r} ndcg@10" for r in ("uni100", "full") for model in ("AdaMCT", "SASRec"))
    assert texts(table) == {
        "Bce": [NONE, "0.1000", NONE, "0.0250"],
        "Bpr": ["0.1000", NONE, "0.0250", NONE],
        "CrossEntropy": ["0.4000", "0.3000", "0.1000", "0.0750"],
    }
    assert cells_of(table)["CrossEntropy"]["AdaMCT uni100 ndcg@10"].mark == "best"
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
    values = {
        "mean": [0.7, None, 0.5],
        "q10": [0.2, None, 0.1],
        "q90": [1.0, None, 0.9],
        "user0": [0.6, None, 0.4],
        "user1": [0.8, None, 0.9],
    }
    history = {f"mixture/layer{layer}/{kind}": series for layer in (1, 2) for kind, series in values.items()}
    write_run(tmp_path / "a", "adamct", 1, draw(1, 4.0), history=history)
    assert over_training(block_of(tmp_path)) == []  # only the study of the coefficients asks for them
    (drawing,) = over_training(replace(block_of(tmp_path), study="figure6"))
    followed, average = drawing.figure.axes
    assert {str(line.get_label()) for line in followed.lines} == {
        f"user {u}, layer {n}" for u in (0, 1) for n in (1, 2)
    }
    assert [list(line.get_xdata()) for line in average.lines] == [[1, 3], [1, 3]]  # the second epoch had no validation  # pyright: ignore
    assert [list(map(float, line.get_ydata())) for line in average.lines] == [[0.7, 0.5], [pytest.approx(0.3), 0.5]]  # pyright: ignore
    bands = [area.get_paths()[0].vertices[:, 1] for area in average.collections]  # pyright: ignore
    assert [(band.min(), band.max()) for band in bands] == [(0.1, 1.0), (0.0, pytest.approx(0.9))]  # pyright: ignore
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
    *panels, _ = drawing.figure.axes
    assert [axes.get_title() for axes in panels] == ["local", "global", "mixture"]
    (limits,) = {axes.images[0].get_clim() for axes in panels}  # one scale
    assert limits == (0.5, 10.0)  # ten positions: all weight on one is ten times an equal weight


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
    papers = {label: [cell.paper for cell in row.values()] for label, row in cells_of(every).items()}
    assert list(papers) == ["AdaMCT", "SASRec", "CORE", "AdaMCT wide"]
    assert papers["SASRec"] == ["880,000", "4.98", "3.65", "", ""]
    assert papers["AdaMCT"][:2] == ["210,000", "0.34"]
    assert set(papers["AdaMCT wide"]) == {""}
    assert [label for label, _ in equal.rows] == ["SASRec", "CORE", "AdaMCT wide"]
    assert equal.title.endswith("cost at hidden size 64")


def test_a_study_of_costs_judges_no_accuracy(tmp_path: Path) -> None:
    for model, peak in (("sasrec", None), ("adamct", None)):
        cost = {"parameters": 1000, "train_seconds_per_epoch": 1.5, "peak_gpu_memory_mib": peak}
        write_run(tmp_path / model, model, 1, draw(1, 4.0), cost=cost, ended_by="limit")
    block = replace(block_of(tmp_path), study="table6")
    (table,) = block_parts(block, comparisons_of(block), [])
    assert isinstance(table, Table)
    assert table.columns == ("parameters", "s an epoch")  # neither accuracy nor the memory of a CPU
    assert banner(block) == ""


def test_dots_are_zoomed_in_and_values_printed(tmp_path: Path) -> None:
    for model, strength in (("core", 6.0), ("popularity", 1.0), ("adamct", 7.0)):
        write_run(tmp_path / model, model, 1, draw(1, strength, users=1000))
    block = block_of(tmp_path)
    (drawing,) = dots(block, compare(block))
    for axes, ranking in zip(drawing.figure.axes, block.rankings, strict=True):
        means = {one.name: one.mean(Metric("test", ranking, "ndcg@10")) for one in block.variants}
        assert [text.get_text() for text in axes.texts] == [
            f"{means[name]:.4f}" for name in ("AdaMCT", "CORE", "Popularity")
        ]
        assert axes.get_xlim()[0] > 0.5 * (means["AdaMCT"] or 0)  # Popularity is an arrow at the edge
        assert "<" in [line.get_marker() for line in axes.lines]
    first, *_ = drawing.figure.axes[0].get_yticklabels()
    assert (first.get_text(), first.get_fontweight()) == ("AdaMCT", "bold")
    assert "D" in [line.get_marker() for line in drawing.figure.axes[0].lines]  # the paper's values
    assert dots(block_of(tmp_path / "core"), ()) == []


def test_each_variant_has_a_panel_of_its_curve(tmp_path: Path) -> None:
    for index, label in enumerate(("full", "one", "two", "single epoch")):
        history = {"val/uni100/ndcg@10": [0.5] if label == "single epoch" else [0.1, 0.3, (40 + index) / 100]}
        write_run(tmp_path / label, "adamct", 1, draw(index, 4.0), keys={"label": label}, history=history)
    write_cases(tmp_path, ["full"])
    (drawing,) = curves(block_of(tmp_path))
    assert [axes.get_title() for axes in drawing.figure.axes] == ["one", "two"]
    courses = [[list(map(float, line.get_ydata())) for line in axes.lines] for axes in drawing.figure.axes]  # pyright: ignore
    assert courses == [[[0.1, 0.3, 0.4], [0.1, 0.3, last]] for last in (0.41, 0.42)]
    assert drawing.figure.axes[0].get_ylim()[0] < 0.1  # a short curve is shown as a whole
    assert curves(block_of(tmp_path / "single epoch")) == []


def test_a_narrow_terminal_shows_the_tested_metric(tmp_path: Path) -> None:
    for index in range(8):
        write_run(
            tmp_path / str(index), "adamct", 1, draw(index, 4.0), keys={"label": f"a label of some length, {index}"}
        )
    terminal = Console(file=StringIO(), width=70)
    show(comparison_table(block_of(tmp_path), ()), terminal)
    printed = terminal.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(f"a label of some length, {index} " in printed for index in range(8))
    assert "uni100" in printed
    assert "recall" not in printed
