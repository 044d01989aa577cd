"""The search space: distributions of overrides, and draws under constraints."""

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from adamct.errors import InputError
from adamct.search.constraints import Divides
from adamct.search.space import Parameter, draw, parse_parameter
from adamct.search.storage import open_trial


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
def test_override_gives_its_distribution(override: str, distribution: object) -> None:
    (parameter,) = parsed(override)
    assert parameter.key == "a"
    assert parameter.distribution == distribution


@pytest.mark.parametrize("override", ["a=tag(log, interval(0, 1))", "a=interval(2, 1)"])
def test_impossible_distribution_names_its_override(override: str) -> None:
    with pytest.raises(InputError, match="a="):
        parsed(override)


def test_choices_that_compare_equal_stay_distinct() -> None:
    (choices,) = parsed("a=1,true,0,false,1.0")
    assert set(choices.texts.values()) == {"1", "True", "0", "False", "1.0"}


def test_drawn_overrides_have_the_values_of_the_study() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = parsed("a='x y',null,[1,2]", "b=interval(0, 1)", "c=tag(log, int(interval(1, 64)))")
    for _ in range(20):
        trial = study.ask()
        drawn = OverridesParser.create().parse_overrides(draw(trial, space, [], {}))
        values = {override.key_or_group: override.value() for override in drawn}
        assert values == trial.params | ({"a": [1, 2]} if values["a"] == [1, 2] else {})


def test_divides_ignores_values_that_are_not_integers() -> None:
    divides = Divides("heads", "hidden")
    assert divides({"heads": "${x}", "hidden": 8})
    assert divides({"heads": None, "hidden": 8})
    assert not divides({"heads": 0, "hidden": 8})


def test_exactly_the_allowed_values_are_drawn() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = parsed("hidden=choice(16, 32, 96)", "heads=choice(2, 8, 32)")
    drawn = {tuple(draw(study.ask(), space, [Divides("heads", "hidden")], {})) for _ in range(300)}
    feasible = {(h, n) for h in (16, 32, 96) for n in (2, 8, 32) if h % n == 0}
    assert drawn == {(f"hidden={hidden}", f"heads={heads}") for hidden, heads in feasible}


def test_constraints_apply_to_fixed_values() -> None:
    study = optuna.create_study()
    space = parsed("heads=choice(2, 32)")
    constraints = [Divides("heads", "hidden")]
    assert {tuple(draw(study.ask(), space, constraints, {"hidden": 16})) for _ in range(20)} == {("heads=2",)}
    with pytest.raises(InputError, match="must have a value"):
        draw(study.ask(), space, constraints, {"hidden": 3})
    with pytest.raises(InputError, match="constraints: forbid"):
        draw(study.ask(), parsed("heads=range(5, 7)"), constraints, {"hidden": 16})


def test_continued_trial_keeps_its_values() -> None:
    study = optuna.create_study()
    space = parsed("a=interval(0, 1)", "b=1,2,3")
    first = draw(study.ask(), space, [], {})
    assert draw(open_trial(study, study.trials[0]), space, [], {}) == first
