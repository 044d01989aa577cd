"""Searches as commands: ``python run.py -m hydra/sweeper=optuna``."""

import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import TrialState
from rich.console import Console

from adamct.report.build import report
from adamct.search.storage import open_storage
from hydra_plugins.adamct_sweeps import report_best, trial_folder
from tests.conftest import CONF, TINY, Ended
from tests.sweeps.runs import results_below

Run = Callable[..., Ended]
SEARCH = ("-m", *TINY, "hydra/sweeper=optuna", "stages=[fit]", "optimizer.lr=tag(log, interval(1e-3, 1e-1))")


def test_trial_folder_has_the_drawn_values() -> None:
    drawn = ["model.hidden_size=16", "optimizer.lr=8.542923456e-05", "model/mixture=none", "model.activation=gelu"]
    assert trial_folder(7, drawn) == "0007,hidden_size=16,lr=8.543e-05,model.mixture=none,activation=gelu"


def test_a_search_whose_trials_are_all_pruned_has_no_best_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study = optuna.create_study(direction="maximize")
    study.ask().report(0.5, step=0)
    study.tell(0, state=TrialState.PRUNED)
    report_best(study, tmp_path)
    assert "to test it" not in capsys.readouterr().out


def test_the_command_that_tests_the_best_trial_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "Bob's" / "0000,lr=0.1"
    run.mkdir(parents=True)
    study = optuna.create_study(direction="maximize")
    study.tell(study.ask(), 0.5)
    report_best(study, run.parent)
    words = shlex.split(capsys.readouterr().out.partition("python run.py ")[2])
    assert words[:3] == [f"--config-path={run}", "--config-name=config", "stages=[test]"]
    (checkpoint,) = OverridesParser.create().parse_overrides(words[3:])
    assert checkpoint.value() == f"{run}/checkpoints"


@pytest.mark.slow
def test_search_is_stored_and_extended(tmp_path: Path, run: Run) -> None:
    search = (*SEARCH, f"hydra.sweep.dir={tmp_path}")
    assert run(*search, "hydra.sweeper.n_trials=2").code == 0
    assert run(*search, "hydra.sweeper.n_trials=3").code == 0
    study = optuna.load_study(study_name="search", storage=open_storage(str(tmp_path / "study.log")))
    trials = study.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    results = results_below(tmp_path).values()
    scores = {result["overrides"][-1]: result["metrics"]["val/uni20/ndcg@10"] for result in results}
    assert scores == {f"optimizer.lr={trial.params['optimizer.lr']}": trial.value for trial in trials}
    assert all(len(trial.intermediate_values) == 3 for trial in trials)
    assert not any(key.startswith("test/") for result in results for key in result["metrics"])

    moved = tmp_path.rename(tmp_path.with_name("moved"))
    result = report([moved], moved / "report", console=Console(quiet=True))
    assert {drawing.name for drawing in result.drawings} == {
        f"moved_{kind}" for kind in ("progress", "courses", "slices")
    }
    (table,) = result.tables
    ranked = sorted(trials, key=lambda trial: trial.value or 0, reverse=True)
    assert [(label, cells[0].text) for label, cells in table.rows] == [
        (str(t.number), f"{t.value:.4f}") for t in ranked
    ]


@pytest.mark.slow
def test_search_continues_after_failed_trials(tmp_path: Path, run: Run) -> None:
    sampler = ("hydra/sweeper/sampler=random", "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler")
    search = [override for override in SEARCH if not override.startswith("optimizer.lr")]
    ended = run(*search, *sampler, "optimizer.lr=1e30,0.01", "hydra.sweeper.n_trials=9", f"hydra.sweep.dir={tmp_path}")
    assert ended.code == 1
    study = optuna.load_study(study_name="search", storage=open_storage(str(tmp_path / "study.log")))
    assert sorted(trial.state.name for trial in study.trials) == [
        "COMPLETE",
        "FAIL",
    ]  # the whole grid


def test_mistakes_in_a_search_give_one_line(tmp_path: Path, run: Run) -> None:
    for overrides, named in [
        (["hydra.sweeper.storage=null", "+hydra.sweeper.pruner._target_=optuna.pruners.NopPruner"], "storage"),
        (["model.num_heads=tag(log, interval(0, 2))"], "model.num_heads"),
        (["hydra.sweeper.n_jobs=0"], "n_jobs=0"),
        (["hydra.sweeper.n_trials=1.5"], "n_trials=1.5"),
        (["hydra.sweeper.sampler=null"], "sampler=null"),
        (["hydra.sweeper.storage=nonsense://x"], "storage=nonsense://x"),
    ]:
        ended = run(*SEARCH, *overrides, f"hydra.sweep.dir={tmp_path}")
        assert ended.code == 1
        assert named in ended.line
        assert "\n" not in ended.line
    assert not (tmp_path / "study.log").exists()  # whose trials would forbid to correct the mistake


@pytest.mark.slow
def test_two_searches_share_a_database(tmp_path: Path, run: Run) -> None:
    for rate, name in (("1e-3, 1e-1", "one"), ("0.2, 0.3", "other")):
        search = [
            *SEARCH[:-1],
            f"optimizer.lr=interval({rate})",
            f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db",
        ]
        assert run(*search, "hydra.sweeper.n_trials=2", f"hydra.sweep.dir={tmp_path}/{name}").code == 0
        assert len(results_below(tmp_path / name)) == 2
    config = tmp_path / "one" / "multirun.yaml"
    before = config.read_text()
    ended = run(*search, "hydra.sweeper.n_trials=2", f"hydra.sweep.dir={tmp_path}/one")
    assert ended.code == 1
    assert "has trials with optimizer.lr=interval(1e-3,1e-1)" in ended.line
    assert config.read_text() == before
    result = report([tmp_path / "one"], tmp_path / "one" / "report", console=Console(quiet=True))
    assert len(result.tables[0].rows) == 2


@pytest.mark.slow
def test_search_without_a_pruner_completes_all_trials(tmp_path: Path, run: Run) -> None:
    assert (
        run(*SEARCH, "hydra.sweeper.n_trials=8", "hydra.sweeper.pruner=null", f"hydra.sweep.dir={tmp_path}").code == 0
    )
    study = optuna.load_study(study_name="search", storage=open_storage(str(tmp_path / "study.log")))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 8


@pytest.mark.integration
@pytest.mark.integration
@pytest.mark.slow
def test_killed_search_continues_to_all_its_trials(tmp_path: Path) -> None:
    search = [
        sys.executable,
        str(CONF.parent / "run.py"),
        "-m",
        *TINY,
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=20",
        f"hydra.sweep.dir={tmp_path}",
    ]
    search += ["optimizer.lr=tag(log, interval(1e-4, 0.3))", "trainer.max_epochs=6", "stages=[fit]"]
    search += [f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db"]
    search += ["hydra.sweeper.pruner={_target_: optuna.pruners.MedianPruner, n_warmup_steps: 1}"]
    process = subprocess.Popen(search)
    while len(results_below(tmp_path)) < 7:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(search, check=True)
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path}/study.db")
    states = Counter(trial.state.name for trial in study.trials)
    assert sum(states.values()) == 20
    assert states["PRUNED"] >= 1
    assert states["COMPLETE"] + states["PRUNED"] == 20
    results = results_below(tmp_path).values()
    assert len(results) == 20
    assert study.best_value == max(run["metrics"]["val/uni20/ndcg@10"] for run in results if not run["pruned"])
