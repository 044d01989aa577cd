"""What a search draws from, in Hydra's grammar of sweeps. Needs the extra [search]."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, QuotedString, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from adamct.errors import InputError, require
from adamct.search.constraints import Constraint


class Parameter(NamedTuple):
    """A key of the config that a search draws."""

    key: str
    distribution: BaseDistribution
    texts: Mapping[Any, str]
    """A choice's values as they are written in an override."""


def parameter(override: Override) -> Parameter:
    """What an override of the sweep grammar draws.

    As in Hydra's published Optuna sweeper: ``choice(a, b)`` and ``a,b`` draw one of several values, ``range(1, 9,
    step=2)`` one of evenly spaced ones including the end, ``interval(0, 1)`` a number between, ``int(interval(1, 9))``
    a whole one, ``tag(log, interval(1e-5, 1))`` on a logarithmic scale.

    Raises:
        InputError: for values that cannot be drawn.
    """
    key, sweep = override.get_key_element(), override.value()
    try:
        if isinstance(sweep, RangeSweep) and not sweep.shuffle:
            return Parameter(key, range_distribution(sweep), {})
        if isinstance(sweep, IntervalSweep):
            return Parameter(key, interval_distribution(sweep), {})
    except ValueError as error:
        raise InputError(f"{override.input_line}: {error}") from error
    return choice_parameter(key, override)


def range_distribution(sweep: RangeSweep) -> BaseDistribution:
    """Evenly spaced values, the end included where a step meets it."""
    start, stop, step = sweep.start, sweep.stop, sweep.step
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        return IntDistribution(start, stop, step=step)
    return FloatDistribution(float(start or 0), float(stop or 0), step=float(step))


def interval_distribution(sweep: IntervalSweep) -> BaseDistribution:
    """All values between two."""
    log = "log" in sweep.tags
    if isinstance(sweep.start, int) and isinstance(sweep.end, int):
        return IntDistribution(sweep.start, sweep.end, log=log)
    return FloatDistribution(float(sweep.start or 0), float(sweep.end or 0), log=log)


def choice_parameter(key: str, override: Override) -> Parameter:
    """One of several values; lists and dicts are kept as they are written, for storages know only plain ones."""
    texts: dict[Any, str] = {}
    if isinstance(override.value(), ChoiceSweep | RangeSweep) or override.is_discrete_sweep():
        for value, text in zip(override.sweep_iterator(), override.sweep_string_iterator(), strict=True):
            plain = value.text if isinstance(value, QuotedString) else value
            kept = isinstance(plain, str | int | float | bool | None) and plain not in texts  # as 1 is, where True is
            texts[plain if kept else text] = text
    return Parameter(key, CategoricalDistribution(list(texts)), texts)


def draw(
    trial: Trial, parameters: Iterable[Parameter], constraints: Sequence[Constraint], fixed: Mapping[str, Any]
) -> list[str]:
    """Draw a trial's values, or read those it has, as overrides.

    Values of a choice that a constraint is against, given what was drawn before, are left out. What is left is
    another parameter to Optuna, whose choices may not change, and is named by them.

    Args:
        trial: what draws.
        parameters: what to draw, in order.
        constraints: what may not be drawn together.
        fixed: values of other keys.

    Raises:
        InputError: if no choice is left, or if a constraint is against numbers that were drawn.
    """
    values, overrides = dict(fixed), []
    for key, distribution, texts in parameters:
        name = key
        if texts:
            left = [value for value in texts if all(holds({**values, key: value}) for holds in constraints)]
            require(bool(left), f"{key}: no choice is left by hydra.sweeper.constraints for {values}")
            if len(left) < len(texts):
                name = f"{key} of {','.join(texts[value] for value in left)}"
                distribution = CategoricalDistribution(left)
        try:
            values[key] = suggest(trial, name, distribution)
        except ValueError as error:  # as Optuna says where a study's choices have changed
            raise InputError(f"{key}: {error} Give the choices the study has, or another hydra.sweep.dir") from error
        overrides.append(f"{key}={texts.get(values[key], values[key])}")
    require(
        all(holds(values) for holds in constraints),
        f"hydra.sweeper.constraints: {values} cannot be had together; only values of choice(...) are left out",
    )
    return overrides


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """The trial's value of a parameter."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(name, low, high, step=step, log=log)
    raise TypeError(distribution)
