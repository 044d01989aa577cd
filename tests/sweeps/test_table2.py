"""The sweep of Table 2: its cells, and the same command again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from tests.conftest import CONF, TINY, Ended
from tests.sweeps.runs import read_results

Run = Callable[..., Ended]
SWEEP = ("-m", "sweep=table2", "dataset=synthetic", *TINY)


def cells() -> list[tuple[str, str]]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        params = compose("config", ["sweep=table2"], return_hydra_config=True).hydra.sweeper.params
    assert len(params.seed.split(",")) == 5
    return [(dataset, model) for dataset in params.dataset.split(",") for model in params.model.split(",")]


def test_sweep_has_11_models_on_3_datasets() -> None:
    assert len(cells()) == 3 * 11


@pytest.mark.parametrize("dataset", ["beauty", "sports", "toys"])
def test_only_core_and_sine_have_no_tuned_values(dataset: str) -> None:
    tuned = {path.stem for folder in ("model", dataset) for path in (CONF / "tuned" / folder).glob("*.yaml")}
    untuned = {model for name, model in cells() if name == dataset} - tuned
    assert untuned - {"popularity"} == {"core", "sine"}


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, marks=[pytest.mark.slow] * (cell[0] != "beauty")) for cell in cells()],
    ids="-".join,
)
def test_cells_build_with_their_tuned_values(cell: tuple[str, str], build: Callable[..., Any]) -> None:
    from adamct.batch import DataSpec

    spec = DataSpec(num_items=30, num_users=8, max_len=50, item_counts=torch.zeros(31))
    model = build(spec, "sweep=table2", f"dataset={cell[0]}", f"model={cell[1]}")
    assert len(model.item_table()) == 31


def test_same_sweep_runs_only_the_missing_jobs(tmp_path: Path, run: Run) -> None:
    sweep = (*SWEEP, "monitor=val/full/ndcg@10", "seed=1", f"hydra.sweep.dir={tmp_path}")
    assert run(*sweep, "model=hgn").code == 0
    (first,) = tmp_path.rglob("results.json")
    written = first.stat().st_mtime_ns
    assert run(*sweep, "model=hgn,core_ave").code == 0
    assert len(list(tmp_path.rglob("results.json"))) == 2
    assert first.stat().st_mtime_ns == written


@pytest.mark.slow
def test_another_config_has_another_folder(tmp_path: Path, run: Run) -> None:
    sweep = (*SWEEP, "monitor=val/full/ndcg@10", "seed=1", "model=hgn", f"hydra.sweep.dir={tmp_path}/auto")
    assert run(*sweep).code == 0
    assert run(*sweep, "optimizer.lr=0.5").code == 0
    rates = {read_results(path.parent)["config"]["optimizer"]["lr"] for path in tmp_path.rglob("results.json")}
    assert rates == {0.01, 0.5}


def test_model_without_parameters_is_tested(tmp_path: Path, run: Run) -> None:
    overrides = (key for key in TINY if not key.startswith("model."))
    assert run(*overrides, "model=popularity", f"hydra.run.dir={tmp_path}").code == 0
    result = read_results(tmp_path)
    assert list(result["references"]) == ["popularity", "markov", "planted optimum"]
    reference = result["references"]["popularity"]
    assert {key: result["metrics"][key] for key in reference} == reference
    assert result["cost"]["parameters"] == result["cost"]["epochs"] == 0


@pytest.mark.parametrize("overrides", [["model=gru4rec", "model.all_positions=true"], ["model=bert4rec"]])
def test_model_of_all_positions_trains_on_no_prefixes(overrides: list[str], tmp_path: Path, run: Run) -> None:
    assert run(*TINY, *overrides, "dataset.batch_size=80", f"hydra.run.dir={tmp_path}").code == 0
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 3  # one step with all 80 users in each epoch
