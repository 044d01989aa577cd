"""The command: lists that a run of this project recommends are tested as the run itself is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from adamct.evaluate.__main__ import main
from adamct.report.inputs.runs import read_run
from tests.conftest import TINY, Ended
from tests.evaluate.lists import scores, table, write
from tests.serving.test_predictions import log_of

Run = Callable[..., Ended]
Evaluate = Callable[..., str | None]


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Return ``evaluate(file, "seed=1", ...)``, which is the command in this process. It returns an error's line."""

    def evaluate(file: Path, *overrides: str) -> Any:
        GlobalHydra.instance().clear()
        monkeypatch.setattr("sys.argv", ["evaluate", str(file), *TINY, *overrides])
        try:
            main()
        except SystemExit as exit:
            return exit.code
        return None

    return evaluate


def metrics_of(folder: Path) -> dict[str, float]:
    return json.loads((folder / "results.json").read_text())["metrics"]


def test_a_models_own_lists_give_the_metrics_of_its_test(
    tmp_path: Path, run: Run, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    histories = "\n".join(f"{user} {' '.join(items[:-1])}" for user, items in log_of(tmp_path).items())
    (tmp_path / "histories.txt").write_text(histories)
    model = (*(key for key in TINY if not key.startswith("model.hidden_size")), "model=markov")
    assert run(*model, f"hydra.run.dir={tmp_path}/run").code == 0
    predict = ("stages=[predict]", f"ckpt={tmp_path}/run/checkpoints/best.ckpt", "predict.k=30", "predict.format=csv")
    people = (f"predict.histories={tmp_path}/histories.txt", "predict.unseen=false", f"hydra.run.dir={tmp_path}/lists")
    assert run(*model, *predict, *people).code == 0
    lists, folder = tmp_path / "lists" / "recommendations.csv", tmp_path / "evaluated"
    assert evaluate(lists, "label=Own lists", f"hydra.run.dir={folder}") is None
    own, metrics = metrics_of(tmp_path / "run"), metrics_of(folder)
    exact = {key: value for key, value in metrics.items() if key.split("/")[2].startswith(("recall", "ndcg"))}
    assert exact == {key: own[key] for key in exact}
    assert {key for key in exact if key.endswith("ndcg@10")} == {"test/full/ndcg@10", "test/full_unseen/ndcg@10"}
    evaluated = read_run(folder)
    assert (evaluated.status, evaluated.model, evaluated.cut_short) == ("finished", "Own lists", False)
    assert set(evaluated.facts) == {"target_count", "history_len"}
    printed = capsys.readouterr().out
    assert "uni20: unknown, because a list lacks the score of the test item" in printed
    assert f"compare with other runs: python -m adamct.report {folder}\n" in printed  # no clone, no record


def test_a_forgotten_file_is_named(evaluate: Evaluate) -> None:
    line = "dataset=custom: there is no such file; give FILE, the recommendations, before KEY=VALUE"
    assert evaluate(Path("dataset=custom"), "dataset.path=log.csv") == f"error: {line}"


def test_a_folder_of_another_file_or_a_taken_name_is_refused(tmp_path: Path, evaluate: Evaluate) -> None:
    one = write(table(scores(10**6), 12), tmp_path / "one.csv")
    other = write(table(scores(9), 12), tmp_path / "other.csv")
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    assert evaluate(one, folder) is None
    before = (tmp_path / "run" / "results.json").read_bytes()
    assert f"{tmp_path / 'run'}: holds a run with recommendations=" in str(evaluate(other, folder))
    assert (tmp_path / "run" / "results.json").read_bytes() == before
    assert evaluate(one, folder, "label=sasrec") == "error: label=sasrec: is a model of conf/model; give another name"
    assert "patience=0: must be" in str(evaluate(one, folder, "patience=0"))
    assert evaluate(one, "hydra.run.dir=") == "error: hydra.run.dir is empty: give hydra.run.dir=FOLDER"
    assert read_run(tmp_path / "run").model == "one.csv"
