"""Storages of studies: continued studies, damaged files, and reports from other processes."""

import math
from pathlib import Path
from unittest.mock import Mock

import optuna
import pytest
import pytorch_lightning as pl
import torch
from optuna.trial import TrialState
from pytorch_lightning.trainer.states import TrainerFn, TrainerState

from adamct.errors import InputError
from adamct.report.sections.search import find_study
from adamct.search.pruning import TrialReport
from adamct.search.storage import (
    continued_seed,
    default_study_name,
    finish_trial,
    load_trial,
    open_storage,
    open_study,
)


@pytest.mark.filterwarnings("ignore:All-NaN slice")  # Optuna warns of the score NaN
@pytest.mark.parametrize("storage", ["study.log", "sqlite:///study.db"])
def test_loaded_trials_report_to_their_study(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(study_name="s", storage=open_storage(storage), direction="maximize")
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1)
    for score, expected in [(0.5, TrialState.COMPLETE), (0.1, TrialState.PRUNED), (math.nan, TrialState.FAIL)]:
        trial = study.ask()
        reporter = load_trial(storage, "s", trial.number, pruner)
        reporter.report(score, 0)
        if reporter.should_prune() and math.isfinite(score):
            reporter.set_user_attr("pruned", True)
        finish_trial(study, trial, score)
        assert study.trials[trial.number].state == expected
    assert [trial.intermediate_values[0] for trial in study.trials[:2]] == [0.5, 0.1]
    assert study.best_value == 0.5


@pytest.mark.parametrize("scheme", ["", "sqlite:///"], ids=["journal", "SQLite"])
def test_moved_study_is_found_in_its_folder(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    assert find_study(sweep, f"{scheme}stored", "s") is None
    optuna.create_study(study_name="s", storage=open_storage(f"{scheme}stored"))
    assert find_study(sweep, f"{scheme}stored", "s") is not None
    Path("stored").rename(sweep / "stored")
    assert find_study(sweep, f"{scheme}elsewhere/stored", "s") is not None


@pytest.mark.filterwarnings("error:The reported value is ignored")
def test_a_killed_run_reports_an_epoch_again(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.log")
    study = open_study("s", open_storage(storage), None, {})
    study.ask()
    trainer = Mock(spec=pl.Trainer, sanity_checking=False, is_global_zero=True, current_epoch=0)
    trainer.state = TrainerState(fn=TrainerFn.FITTING)
    trainer.callback_metrics = {"score": torch.tensor(0.5)}
    trainer.strategy.broadcast = bool
    for _ in range(2):
        TrialReport(storage, "s", 0, None, "score").on_validation_end(trainer, Mock(spec=pl.LightningModule))
    assert study.trials[0].intermediate_values == {0: 0.5}


def test_no_pruner_prunes_no_trial(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.log")
    study = open_study("s", open_storage(storage), None, {})
    for number in range(12):
        trial = study.ask()
        for reporter in (trial, load_trial(storage, "s", number, None)):
            reporter.report(1 / (number + 1), 0)
            assert not reporter.should_prune()
        finish_trial(study, trial, 1 / (number + 1))
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_sweeps_have_studies_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = Path("multirun/one"), Path("multirun/other")
    shared = ("sqlite:///study.db", "study.log", "postgresql://host/database", None)
    assert all(default_study_name(one, storage) != default_study_name(other, storage) for storage in shared)
    for storage in ("multirun/one/study.log", f"sqlite:///{tmp_path}/multirun/one/study.db"):
        assert default_study_name(one, storage) == "search"  # also after the folder is moved


@pytest.mark.parametrize("storage", ["study.log", "sqlite:///study.db"])
def test_study_of_another_search_is_refused(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    search = {"lr": "interval(0,1)", "model": "sasrec", "k": {1: [2]}}

    def opened(name: str, **changed: str) -> optuna.Study:
        return open_study(name, open_storage(storage), None, search | changed)

    opened("s", model="hgn")  # has no trials yet, so another search may use it
    opened("s").ask()
    assert len(opened("s").trials) == 1
    with pytest.raises(
        InputError, match=r"the study s has trials with lr=interval\(0,1\), but .* lr=interval\(0,2\): "
    ):
        opened("s", lr="interval(0,2)")
    with pytest.raises(InputError, match="seed=None, but this search has seed=1"):
        opened("s", seed="1")
    assert not opened("another", model="hgn").trials


def test_truncated_journal_continues(tmp_path: Path) -> None:
    path = tmp_path / "study.log"

    def opened() -> optuna.Study:
        return open_study("s", open_storage(str(path)), None, {})

    study = opened()
    for score in (1.0, 2.0):
        study.tell(study.ask(), score)
    whole = path.read_bytes()
    line_ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for size in {0, 1, *line_ends, *(end - 1 for end in line_ends), *(end - 5 for end in line_ends)}:
        path.write_bytes(whole[:size])
        study = opened()
        before = [trial.value for trial in study.trials if trial.value is not None]
        assert before == [1.0, 2.0][: len(before)]
        study.tell(study.ask(), 3.0)
        assert [trial.value for trial in opened().trials if trial.value is not None] == [*before, 3.0]


@pytest.mark.parametrize(
    "content", [b"nonsense\n", b'{"a": 1}\n', b"[1]\n", b"\x00\xff\n" * 50, b"SQLite format 3\0" * 99]
)
@pytest.mark.parametrize("storage", ["study.log", "sqlite:///study.db"])
def test_unreadable_storage_gives_one_line(
    storage: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(storage.removeprefix("sqlite:///"))
    path.write_bytes(content + b"\n")
    with pytest.raises(
        InputError, match=rf"hydra.sweeper.storage={storage}: cannot be read \(.*\); move it away"
    ) as error:
        open_storage(storage)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == content + b"\n"


def test_continued_study_repeats_no_trial() -> None:
    def drawn(trials: int) -> float:
        sampler = optuna.samplers.RandomSampler(seed=continued_seed(212, trials))
        return optuna.create_study(sampler=sampler).ask().suggest_float("a", 0, 1)

    assert len({drawn(trials) for trials in range(5)}) == 5
    assert drawn(3) == drawn(3)
