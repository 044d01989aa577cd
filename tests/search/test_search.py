"""Searches: what is drawn, what becomes of trials, and what a study given again goes on with."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from rich.console import Console

from adamct.errors import InputError
from adamct.report.build import report
from adamct.report.sections.search import find_study
from adamct.search.constraints import Divides
from adamct.search.space import Parameter, draw, parse_parameter
from adamct.search.storage import (
    continued_seed,
    default_study_name,
    finish_trial,
    load_trial,
    open_storage,
    open_study,
    open_trial,
)
from hydra_plugins.adamct_sweeps import trial_folder
from tests.conftest import TINY, Ended

Run = Callable[..., Ended]
SEARCH = ("-m", *TINY, "hydra/sweeper=optuna", "stages=[fit]", "optimizer.lr=tag(log, interval(1e-3, 1e-1))")


def parsed(*overrides: str) -> list[Parameter]:
    return [parse_parameter(override) for override in OverridesParser.create().parse_overrides(list(overrides))]


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("a=1,2,3", CategoricalDistribution([1, 2, 3])),
        ("a=gelu,'a b',null,true,0.5", CategoricalDistribution(["gelu", "a b", None, True, 0.5])),
        ("a=choice([1,2],{b:3})", CategoricalDistribution(["[1,2]", "{b:3}"])),
        ("a=range(3, 11, step=2)", IntDistribution(3, 11, step=2)),
        ("a=range(0, 1, step=0.25)", FloatDistribution(0.0, 1.0, step=0.25)),
        ("a=interval(0.1, 0.9)", FloatDistribution(0.1, 0.9)),
        ("a=interval(1, 9)", FloatDistribution(1.0, 9.0)),
        ("a=int(interval(1, 9))", IntDistribution(1, 9)),
        ("a=tag(log, interval(1e-5, 1.0))", FloatDistribution(1e-5, 1.0, log=True)),
        ("a=tag(log, int(interval(1, 64)))", IntDistribution(1, 64, log=True)),
    ],
)
def test_the_grammar_of_sweeps_is_understood(override: str, distribution: object) -> None:
    (found,) = parsed(override)
    assert found.key == "a"
    assert found.distribution == distribution


@pytest.mark.parametrize("override", ["a=tag(log, interval(0, 1))", "a=interval(2, 1)"])
def test_what_cannot_be_drawn_is_told(override: str) -> None:
    with pytest.raises(InputError, match="a="):
        parsed(override)


def test_what_is_drawn_composes_to_what_the_study_has() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = parsed("a='x y',null,[1,2]", "b=interval(0, 1)", "c=tag(log, int(interval(1, 64)))")
    for _ in range(20):
        trial = study.ask()
        drawn = OverridesParser.create().parse_overrides(draw(trial, space, [], {}))
        values = {override.key_or_group: override.value() for override in drawn}
        assert values == trial.params | ({"a": [1, 2]} if values["a"] == [1, 2] else {})


def test_what_is_no_whole_number_is_not_held_against_a_choice() -> None:
    divides = Divides("heads", "hidden")
    assert divides({"heads": "${x}", "hidden": 8})
    assert divides({"heads": None, "hidden": 8})
    assert not divides({"heads": 0, "hidden": 8})


def test_infeasible_values_are_never_drawn_and_feasible_ones_all_are() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = parsed("hidden=choice(16, 32, 96)", "heads=choice(2, 8, 32)")
    drawn = {tuple(draw(study.ask(), space, [Divides("heads", "hidden")], {})) for _ in range(300)}
    feasible = {(h, n) for h in (16, 32, 96) for n in (2, 8, 32) if h % n == 0}
    assert drawn == {(f"hidden={hidden}", f"heads={heads}") for hidden, heads in feasible}


def test_fixed_values_constrain_as_drawn_ones() -> None:
    study = optuna.create_study()
    space = parsed("heads=choice(2, 32)")
    constraints = [Divides("heads", "hidden")]
    assert {tuple(draw(study.ask(), space, constraints, {"hidden": 16})) for _ in range(20)} == {("heads=2",)}
    with pytest.raises(InputError, match="must have a value"):
        draw(study.ask(), space, constraints, {"hidden": 3})
    with pytest.raises(InputError, match="constraints: forbid"):
        draw(study.ask(), parsed("heads=range(5, 7)"), constraints, {"hidden": 16})


def test_a_trial_drawn_for_again_keeps_its_values() -> None:
    study = optuna.create_study()
    space = parsed("a=interval(0, 1)", "b=1,2,3")
    first = draw(study.ask(), space, [], {})
    assert draw(open_trial(study, study.trials[0]), space, [], {}) == first


@pytest.mark.filterwarnings("ignore:All-NaN slice")  # from Optuna, about the score that is none
@pytest.mark.parametrize("storage", ["study.log", "sqlite:///study.db"])
def test_scores_reach_a_study_from_elsewhere(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(study_name="s", storage=open_storage(storage), direction="maximize")
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1)
    for score, expected in [(0.5, TrialState.COMPLETE), (0.1, TrialState.PRUNED), (math.nan, TrialState.FAIL)]:
        trial = study.ask()
        elsewhere = load_trial(storage, "s", trial.number, pruner)
        elsewhere.report(score, 0)
        if elsewhere.should_prune() and math.isfinite(score):
            elsewhere.set_user_attr("pruned", True)
        assert not finish_trial(study, trial, score)
        assert study.trials[trial.number].state == expected
    assert [trial.intermediate_values[0] for trial in study.trials[:2]] == [0.5, 0.1]
    assert study.best_value == 0.5


@pytest.mark.parametrize("scheme", ["", "sqlite:///"], ids=["journal", "SQLite"])
def test_a_study_is_found_in_its_folder_or_where_it_was(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    assert find_study(sweep, f"{scheme}kept", "s") is None
    optuna.create_study(study_name="s", storage=open_storage(f"{scheme}kept"))
    assert find_study(sweep, f"{scheme}kept", "s") is not None
    Path("kept").rename(sweep / "kept")
    assert find_study(sweep, f"{scheme}elsewhere/kept", "s") is not None


def test_without_a_pruner_no_trial_is_given_up(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.log")
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = open_study("s", open_storage(storage), sampler, None, {})
    for number in range(12):
        trial = study.ask()
        for here in (trial, load_trial(storage, "s", number, None)):
            here.report(1 / (number + 1), 0)
            assert not here.should_prune()
        finish_trial(study, trial, 1 / (number + 1))
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_a_study_belongs_to_its_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = Path("multirun/one"), Path("multirun/other")
    shared = ("sqlite:///study.db", "study.log", "postgresql://host/database", None)
    assert all(default_study_name(one, storage) != default_study_name(other, storage) for storage in shared)
    for storage in ("multirun/one/study.log", f"sqlite:///{tmp_path}/multirun/one/study.db"):
        assert default_study_name(one, storage) == "search"  # which stays where the folder is moved


@pytest.mark.parametrize("storage", ["study.log", "sqlite:///study.db"])
def test_a_study_of_another_search_is_refused(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    search, sampler = {"lr": "interval(0,1)", "model": "sasrec", "k": {1: [2]}}, optuna.samplers.RandomSampler()

    def opened(name: str, **changed: str) -> optuna.Study:
        return open_study(name, open_storage(storage), sampler, None, search | changed)

    opened("s", model="hgn")  # which has drawn nothing yet
    opened("s").ask()
    assert len(opened("s").trials) == 1
    with pytest.raises(
        InputError, match=r"the study s has trials with lr=interval\(0,1\), but .* lr=interval\(0,2\): "
    ):
        opened("s", lr="interval(0,2)")
    with pytest.raises(InputError, match="seed=None, but this search has seed=1"):
        opened("s", seed="1")
    assert not opened("another", model="hgn").trials


def test_a_journal_cut_off_anywhere_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "study.log"

    def opened() -> optuna.Study:
        return open_study("s", open_storage(str(path)), optuna.samplers.RandomSampler(), None, {})

    study = opened()
    for score in (1.0, 2.0):
        study.tell(study.ask(), score)
    whole = path.read_bytes()
    lines = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in {0, 1, *lines, *(place - 1 for place in lines), *(place - 5 for place in lines)}:
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
def test_a_storage_that_is_something_else_is_told_in_one_line(
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


def test_choices_that_compare_equal_stay_apart() -> None:
    (choices,) = parsed("a=1,true,0,false,1.0")
    assert set(choices.texts.values()) == {"1", "True", "0", "False", "1.0"}


def test_a_continued_study_draws_no_trial_again() -> None:
    def drawn(trials: int) -> float:
        sampler = optuna.samplers.RandomSampler(seed=continued_seed(212, trials))
        return optuna.create_study(sampler=sampler).ask().suggest_float("a", 0, 1)

    assert len({drawn(trials) for trials in range(5)}) == 5
    assert drawn(3) == drawn(3)


def test_folders_of_trials_tell_what_was_drawn() -> None:
    drawn = ["model.hidden_size=16", "optimizer.lr=8.542923456e-05", "model/mixture=none", "model.activation=gelu"]
    assert trial_folder(7, drawn) == "0007,hidden_size=16,lr=8.543e-05,model.mixture=none,activation=gelu"


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("results.json"))]


@pytest.mark.slow
def test_a_search_is_kept_and_extended(tmp_path: Path, run: Run) -> None:
    search = (*SEARCH, f"hydra.sweep.dir={tmp_path}")
    assert run(*search, "hydra.sweeper.n_trials=2").code == 0
    assert run(*search, "hydra.sweeper.n_trials=3").code == 0
    study = optuna.load_study(study_name="search", storage=open_storage(str(tmp_path / "study.log")))
    trials = study.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    found = {tuple(found["overrides"])[-1]: found["metrics"]["val/uni20/ndcg@10"] for found in results(tmp_path)}
    assert found == {f"optimizer.lr={trial.params['optimizer.lr']}": trial.value for trial in trials}
    assert all(len(trial.intermediate_values) == 3 for trial in trials)
    assert not any(key.startswith("test/") for found in results(tmp_path) for key in found["metrics"])

    moved = tmp_path.rename(tmp_path.with_name("moved"))
    made = report([moved], moved / "report", console=Console(quiet=True))
    assert {drawing.name for drawing in made.drawings} == {
        f"moved_{kind}" for kind in ("progress", "courses", "slices")
    }
    (table,) = made.tables
    ranked = sorted(trials, key=lambda trial: trial.value or 0, reverse=True)
    assert [(label, cells[0].text) for label, cells in table.rows] == [
        (str(t.number), f"{t.value:.4f}") for t in ranked
    ]


@pytest.mark.slow
def test_failed_trials_are_recorded_and_the_search_goes_on(tmp_path: Path, run: Run) -> None:
    sampler = (
        "+hydra.sweeper.sampler={_target_: optuna.samplers.GridSampler, search_space: {optimizer.lr: [1e30, 0.01]}}"
    )
    search = [override for override in SEARCH if not override.startswith("optimizer.lr")]
    ended = run(*search, sampler, "optimizer.lr=1e30,0.01", "hydra.sweeper.n_trials=9", f"hydra.sweep.dir={tmp_path}")
    assert ended.code == 1
    study = optuna.load_study(study_name="search", storage=open_storage(str(tmp_path / "study.log")))
    assert sorted(trial.state.name for trial in study.trials) == ["COMPLETE", "FAIL"]  # a grid of two has no third


def test_mistakes_in_a_search_are_told_in_one_line(tmp_path: Path, run: Run) -> None:
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


@pytest.mark.slow
def test_two_searches_in_one_database_each_have_their_trials(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for rate, name in (("1e-3, 1e-1", "one"), ("0.2, 0.3", "other")):
        search = [
            *SEARCH[:-1],
            f"optimizer.lr=interval({rate})",
            f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db",
        ]
        assert run(*search, "hydra.sweeper.n_trials=2", f"hydra.sweep.dir={tmp_path}/{name}").code == 0
        assert len(results(tmp_path / name)) == 2
    (before,) = tmp_path.glob("one/multirun.yaml")
    written = before.read_text()
    ended = run(*search, "hydra.sweeper.n_trials=2", f"hydra.sweep.dir={tmp_path}/one")
    assert ended.code == 1
    assert "has trials with optimizer.lr=interval(1e-3,1e-1)" in ended.line
    assert before.read_text() == written
    made = report([tmp_path / "one"], tmp_path / "one" / "report", console=Console(quiet=True))
    assert len(made.tables[0].rows) == 2


@pytest.mark.slow
def test_a_search_without_a_pruner_completes_all_trials(tmp_path: Path, run: Run) -> None:
    assert (
        run(*SEARCH, "hydra.sweeper.n_trials=8", "hydra.sweeper.pruner=null", f"hydra.sweep.dir={tmp_path}").code == 0
    )
    study = optuna.load_study(study_name="search", storage=open_storage(str(tmp_path / "study.log")))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 8
