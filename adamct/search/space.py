"""The search space of a search, written in Hydra's grammar of sweeps. Needs the extra [search]."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, QuotedString, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from adamct.errors import InputError, require
from adamct.search.constraints import Constraint


class Parameter(NamedTuple):
    """A key of the config whose values a search draws."""

    key: str
    distribution: BaseDistribution
    texts: Mapping[Any, str]
    """The text of each value of a choice in an override; empty for other distributions."""


def parse_parameter(override: Override) -> Parameter:
    """Parse an override of the sweep grammar, with the meaning that Hydra's published Optuna sweeper gives it.

    ``choice(a, b)`` and ``a,b`` draw one of the values. ``range(1, 9, step=2)`` draws one of evenly spaced values,
    including the end. ``interval(0, 1)`` draws a number between the bounds, and ``int(interval(1, 9))`` a whole number.
    ``tag(log, interval(1e-5, 1))`` draws on a logarithmic scale.

    Raises:
        InputError: no such distribution exists, for example if bounds are reversed.
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
    """Return the distribution of evenly spaced values. It includes the end if a step meets it."""
    start, stop, step = sweep.start, sweep.stop, sweep.step
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        return IntDistribution(start, stop, step=step)
    return FloatDistribution(float(start or 0), float(stop or 0), step=float(step))


def interval_distribution(sweep: IntervalSweep) -> BaseDistribution:
    """Return the distribution of all values between two bounds."""
    log = "log" in sweep.tags
    if isinstance(sweep.start, int) and isinstance(sweep.end, int):
        return IntDistribution(sweep.start, sweep.end, log=log)
    return FloatDistribution(float(sweep.start or 0), float(sweep.end or 0), log=log)


def choice_parameter(key: str, override: Override) -> Parameter:
    """Return the parameter of several values. Lists and dicts are kept as text, because storages hold only scalars."""
    texts: dict[Any, str] = {}
    if isinstance(override.value(), ChoiceSweep | RangeSweep) or override.is_discrete_sweep():
        for value, text in zip(override.sweep_iterator(), override.sweep_string_iterator(), strict=True):
            scalar = value.text if isinstance(value, QuotedString) else value
            # 1 and True are equal keys, so the second of them is kept as text too.
            is_key = isinstance(scalar, str | int | float | bool | None) and scalar not in texts
            texts[scalar if is_key else text] = text
    return Parameter(key, CategoricalDistribution(list(texts)), texts)


def draw(
    trial: Trial, parameters: Iterable[Parameter], constraints: Sequence[Constraint], fixed: Mapping[str, Any]
) -> list[str]:
    """Draw a trial's values and return them as overrides. A continued trial keeps the values that it has.

    A choice leaves out the values that a constraint forbids together with the fixed values and those drawn before.
    In Optuna a parameter's choices cannot change. The allowed values are therefore a parameter that they name.

    Args:
        trial: the trial.
        parameters: the parameters, in the order of drawing.
        constraints: the constraints on all values.
        fixed: the values of other keys.

    Raises:
        InputError: the constraints forbid all values of a choice or the numbers that were drawn, or the study has
            other choices.
    """
    values, overrides = dict(fixed), []
    for key, distribution, texts in parameters:
        name = key
        if texts:
            allowed = [value for value in texts if all(allows({**values, key: value}) for allows in constraints)]
            require(bool(allowed), f"{key}: must have a value that hydra.sweeper.constraints allow with {values}")
            if len(allowed) < len(texts):
                name = f"{key} of {','.join(texts[value] for value in allowed)}"
                distribution = CategoricalDistribution(allowed)
        try:
            values[key] = suggest(trial, name, distribution)
        except ValueError as error:  # Optuna's error if a study's choices have changed
            raise InputError(f"{key}: {error} Give the study's choices, or another hydra.sweep.dir") from error
        overrides.append(f"{key}={texts.get(values[key], values[key])}")
    require(
        all(allows(values) for allows in constraints),
        f"hydra.sweeper.constraints: forbid {values}; give choice(...) for these keys, which leaves out such values",
    )
    return overrides


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """Return the trial's value of a parameter, drawn if it has none."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(name, low, high, step=step, log=log)
    raise TypeError(distribution)
