"""The paper's studies: their cases, the paper's numbers beside them, and the sweeper of cases."""

import csv
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate

from adamct.batch import DataSpec
from adamct.report.inputs.blocks import make_blocks
from adamct.report.inputs.paper import costs, settings
from adamct.report.inputs.planned_jobs import not_started, planned_labels
from adamct.report.inputs.runs import find_runs, find_sweeps
from adamct.report.sections.losses import losses_table
from hydra_plugins.adamct_lists import combinations
from tests.conftest import CONF, TINY, Ended, composed
from tests.sweeps.runs import results_below

Run = Callable[..., Ended]
PAPER = Path(__file__).parents[3] / "shared" / "paper"
SPEC = DataSpec(num_items=30, num_users=8, max_len=50, item_counts=torch.zeros(31))
STUDIES = [path.stem for path in sorted((CONF / "sweep").glob("*.yaml")) if "cases:" in path.read_text()]


def jobs_of(study: str) -> list[list[str]]:
    """Return each case of a study, with one case for each of its swept values."""
    listed = yaml.safe_load((CONF / "sweep" / f"{study}.yaml").read_text())["hydra"]["sweeper"]["cases"]
    return list(chain.from_iterable(combinations(OverridesParser.create().parse_overrides(case)) for case in listed))


LONG = ("table3", "table5", "departures")


@pytest.mark.parametrize(
    "study", [pytest.param(study, marks=pytest.mark.slow) if study in LONG else study for study in STUDIES]
)
def test_cases_build_and_have_labels_of_the_paper(study: str) -> None:
    labels = []
    for job in jobs_of(study):
        cfg = composed("dataset=beauty", f"sweep={study}", *job)
        labels.append(cfg.label)
        if cfg.model.hidden_size % cfg.model.get("num_heads", 1) == 0:
            assert len(instantiate(cfg.model, _partial_=True)(SPEC).item_table()) == 31
    paper_labels = {label for dataset, label in settings() if dataset == "beauty"}
    if study in ("table3", "table4", "table5", "figure4"):
        assert set(labels) <= paper_labels
    assert len(set(labels)) == len(labels)


@pytest.mark.slow
def test_departures_change_one_thing_of_the_released_code() -> None:
    cases = [composed("sweep=departures", *job) for job in jobs_of("departures")]
    padding = {case.label: case.model.padding for case in cases}
    assert next(iter(padding)) == "as released"
    assert {label: value for label, value in padding.items() if value != "released"} == {
        "padding neither trained nor a class": "dense",
        "padding masked": "masked",
        "all of the equations and padding masked": "masked",
    }


def test_every_setting_of_the_paper_is_a_case() -> None:
    overrides = [override for study in STUDIES for job in jobs_of(study) for override in job]
    labels = {str(o.value()) for o in OverridesParser.create().parse_overrides(overrides) if o.key_or_group == "label"}
    values = {override.removeprefix("model.") for override in overrides}  # kernel_size=5: its label is an interpolation
    assert {label for _, label in settings()} <= labels | values


@pytest.mark.skipif(not PAPER.exists(), reason="needs the paper's tables")
def test_packaged_numbers_are_the_papers() -> None:
    def rows(name: str) -> list[dict[str, str]]:
        with (PAPER / name).open() as file:
            return list(csv.DictReader(file))

    marks = {("off", "off"): "neither", ("on", "off"): "local", ("off", "on"): "global", ("on", "on"): "both"}
    expected = {}
    for row in rows("table3.csv"):
        pair = row["local"], row["global"]
        label = f"adaptive {marks[pair]}" if pair in marks else f"fixed {pair[0]} local {pair[1]} global"
        expected[row["dataset"], label] = row["ndcg@10"]
    for row in rows("table4.csv"):
        expected[row["dataset"], f"local {row['local']} global {row['global']}"] = row["ndcg@10"]
    for row in rows("table5_7_8.csv"):
        expected[row["dataset"], f"{row['parameter']}={row['choice']}"] = row["ndcg@10"]
    for row in rows("table2.csv"):
        if (row["model"], row["metric"]) == ("adamct", "ndcg@10"):
            expected |= {(row["dataset"], label): row["value"] for label in ("full", "as tuned", "as released")}
    values = {key: one.value for key, one in settings().items() if one.value is not None}
    assert values == {key: float(value) for key, value in expected.items()}
    assert all("without" in label for (_, label), one in settings().items() if one.value is None)

    keys = {
        "# Parameters": ("parameters", 1e6),
        "# GPU Memory": ("peak_gpu_memory_mib", 1024),
        "# FLOPs ($\\times 10^6$)": ("flops_per_query", 1e6),
        "Training Cost (per epoch)": ("train_seconds_per_epoch", 1),
        "Inference Cost (per epoch)": ("validation_seconds", 1),
    }
    paper = {
        (row["dataset"], row["model"], keys[row["quantity"]][0]): float(row["value"].rstrip("MGBs"))
        * keys[row["quantity"]][1]
        for row in rows("table6_9_10.csv")
        if row["quantity"] in keys
    }
    assert costs() == pytest.approx(paper, rel=1e-3)


CASES = (
    "hydra/sweeper=cases",
    "hydra.sweeper.cases=[['label=plain'],['label=b','model.kernel_size=3,5'],['model.num_heads=3'],"
    "['label=\"d=${model.dropout}\"','model.attn_dropout=0.25','model.dropout=${model.attn_dropout}']]",
    "hydra.sweeper.constraints=[{_target_:adamct.search.constraints.Divides,divisor:model.num_heads,number:model.hidden_size}]",
)


def results_by_label(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results below a folder by label and kernel size."""
    results = results_below(folder).values()
    return {f"{run['config']['label']} {run['config']['model']['kernel_size']}": run for run in results}


@pytest.mark.slow
def test_equal_and_forbidden_cases_do_not_run(tmp_path: Path, run: Run) -> None:
    sweep = ("-m", *TINY, *CASES, "trainer.max_epochs=1", "seed=1", f"hydra.sweep.dir={tmp_path}/auto")
    assert run(*sweep).code == 0
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("cases")
    # A kernel size of 3 is the default, so that case equals the plain one. 3 heads do not divide a hidden size of 8.
    assert set(results_by_label(folder)) == {"plain 3", "b 5", "d=0.25 3"}
    assert results_by_label(folder)["d=0.25 3"]["config"]["model"]["dropout"] == 0.25
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")}
    assert len(before) == 3
    (removed,) = folder.glob("label=b*")
    (removed / "results.json").unlink()
    assert not_started(find_sweeps([folder]), find_runs([folder])) == []
    assert run(*sweep).code == 0
    assert (removed / "results.json").exists()
    kept = [path for path in before if path.parent != removed]
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)
    assert planned_labels(find_sweeps([folder]))[:2] == ["plain", "b"]


@pytest.mark.slow
def test_study_of_losses_has_a_table_of_losses_by_model(tmp_path: Path, run: Run) -> None:
    names = {"binary_cross_entropy", "bpr", "cross_entropy", "gbce", "sampled_softmax"}
    study = ("sweep=loss", "dataset=synthetic", "model=sasrec,gru4rec", "seed=1", "trainer.max_epochs=1")
    assert run(*TINY, *study, f"hydra.sweep.dir={tmp_path}").code == 0
    (block,) = make_blocks(find_runs([tmp_path]), None, None)
    table = losses_table(block)
    assert table is not None
    assert {loss for loss, _ in table.rows} == names
    assert table.columns[:2] == ("GRU4Rec uni20 ndcg@10", "SASRec uni20 ndcg@10")


def test_sweep_without_an_allowed_case_is_refused(tmp_path: Path, run: Run) -> None:
    ended = run("-m", *TINY, "hydra/sweeper=cases", f"hydra.sweep.dir={tmp_path}")
    assert ended.code == 1
    assert "hydra.sweeper.cases=[]: must have a case; give [['KEY=VALUE" in ended.line
    ended = run("-m", *TINY, *CASES, "hydra.sweeper.cases=[['model.num_heads=3']]", f"hydra.sweep.dir={tmp_path}")
    assert ended.code == 1
    assert "constraints: must allow a case" in ended.line
