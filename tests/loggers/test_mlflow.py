"""MLflow with its embedded store. Its import and its store take seconds to begin."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adamct.loggers.base import End
from tests.conftest import TINY, Ended
from tests.training.interruptions import CUT, interrupt_at

pytest.importorskip("mlflow")
pytestmark = pytest.mark.slow
Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where artifacts are written
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield f"sqlite:///{folder}/mlflow.db"


def runs(store: str, folder: Path) -> list[Any]:
    """Return the runs of a run's folder."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store)
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return [run for run in found if run.info.run_name == folder.name and run.data.tags["group"] == folder.parent.name]


def test_a_run_has_parameters_scores_pictures_and_an_end(tmp_path: Path, store: str, run: Run) -> None:
    from mlflow.tracking import MlflowClient

    command = (*TINY, "logger=mlflow", f"hydra.run.dir={tmp_path}")
    assert run(*command, "trainer.max_epochs=1") == Ended(0, "")
    (first,) = runs(store, tmp_path)
    assert first.info.status == "FINISHED"
    assert first.data.params["model.parts.local_gate.bias"] == "true"
    assert first.data.params["cutoffs"] == "[1, 5, 10, 20]"
    assert {"dataset": "synthetic", "model": "adamct"}.items() <= first.data.tags.items()
    scores = {"val/full/ndcg_at_10", "test/uni20/recall_at_10", "best/full/mrr", "cost/parameters", "lr-Adam"}
    assert scores <= set(first.data.metrics)
    (picture,) = MlflowClient(store).list_artifacts(first.info.run_id, "mixture/layer2/histogram")
    assert picture.path.endswith("step00000006.svg")

    assert run(*command, "trainer.max_epochs=2") == Ended(0, "")
    (second,) = runs(store, tmp_path)
    assert second.info.run_id == first.info.run_id
    assert second.info.status == "FINISHED"
    assert (second.data.params["trainer.max_epochs"], second.data.tags["trainer.max_epochs"]) == ("1", "2")
    history = MlflowClient(store).get_metric_history(first.info.run_id, "val/full/ndcg_at_10")
    assert [metric.step for metric in history] == [5, 11]


def test_failed_and_stopped_runs_have_their_status(tmp_path: Path, store: str, run: Run) -> None:
    failed, stopped = tmp_path / "failed", tmp_path / "stopped"
    assert run(*TINY, "logger=mlflow", "optimizer.lr=1e30", f"hydra.run.dir={failed}").code == 1
    interrupt_at(1)
    assert run(*TINY, "logger=mlflow", CUT, f"hydra.run.dir={stopped}").code == 1
    assert [found.info.status for folder in (failed, stopped) for found in runs(store, folder)] == ["FAILED", "KILLED"]


def test_a_store_that_has_not_the_run_gets_another(tmp_path: Path, store: str, run: Run) -> None:
    (tmp_path / "mlflow_run_id").write_text("0" * 32)
    assert run(*TINY, "logger=mlflow", "stages=[fit]", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}").code == 0
    (found,) = runs(store, tmp_path)
    assert (tmp_path / "mlflow_run_id").read_text() == found.info.run_id


def test_a_new_store_is_created_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from adamct.loggers.mlflow_run import MlflowRun

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    MlflowRun(str(tmp_path / "run"), None, "adamct", None, None, {}).finish(End.SUCCESS)
    assert (tmp_path / "mlflow.db").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////dev/null/mlflow.db", "ftp://nowhere"])
def test_a_store_that_cannot_be_reached_is_one_line(uri: str, tmp_path: Path, run: Run) -> None:
    ended = run(*TINY, "logger=mlflow", f"logger.mlflow.tracking_uri={uri}", f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert ended.line.startswith(f"error: logger.mlflow.tracking_uri={uri}: ")
    assert ended.line.endswith("give another store, such as sqlite:///mlflow.db")
