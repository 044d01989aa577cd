"""The ranges of values, as annotations, and the one function that holds values against annotations. Imports no torch.

A parameter's annotation is all that anyone writes about the values it takes. `adamct.runs.schema` checks the config
with it, and `Checked` checks a call from Python.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from inspect import Parameter, signature
from math import inf
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, cast, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, BeforeValidator, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from adamct.errors import InputError


def odd(number: int) -> int:
    """Return an odd number.

    Raises:
        ValueError: the number is even.
    """
    if number % 2 == 0:
        raise ValueError("odd, so that the length stays as it is")
    return number


def not_too_long(number: Any) -> Any:
    """Return what stands for a number with a point.

    Raises:
        ValueError: it is a whole number that libraries cannot convert.
    """
    if isinstance(number, int) and not -(2**63) <= number < 2**63:
        raise ValueError("a number of 64 bits")
    return number


LARGEST = 2**31 - 1
"""Users and items have numbers of 32 bits, so that nothing can be counted beyond it."""
PositiveInt: TypeAlias = Annotated[int, Ge(1), Le(LARGEST)]
NonNegativeInt: TypeAlias = Annotated[int, Ge(0), Le(LARGEST)]
OddInt: TypeAlias = Annotated[PositiveInt, AfterValidator(odd)]
Seed: TypeAlias = Annotated[int, Ge(0)]
PositiveFloat: TypeAlias = Annotated[float, Gt(0)]
NonNegativeFloat: TypeAlias = Annotated[float, Ge(0)]
Probability: TypeAlias = Annotated[float, Ge(0), Le(1)]
DropoutRate: TypeAlias = Annotated[float, Ge(0), Lt(1)]
Text: TypeAlias = Annotated[str, MinLen(1)]
"""A name or a path."""
Stage: TypeAlias = Literal["fit", "test", "predict"]
CompileMode: TypeAlias = Literal["default", "reduce-overhead", "max-autotune"]
MatmulPrecision: TypeAlias = Literal["highest", "high", "medium"]
TableFormat: TypeAlias = Literal["parquet", "csv", "jsonl"]


WEAK = {"is_instance_of", "too_short"}
"""Kinds of errors that are told only where there is no other."""
IMPLIED = {"int_type": {"float_type", "finite_number"}}
"""Kinds that are not told beside others."""


class Node:
    """An object in the place of a value: a node of the config with a ``_target_``, or the instance it makes."""


STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
SCALARS = (bool, int, float, str, NoneType)
WORDS = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "none_required": "null",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list: [A, B, ...]",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of at most {max_length}",
    "missing": "a list of more",
    "dict_type": "a mapping",
    "greater_than": "above {gt:.12g}",
    "greater_than_equal": "at least {ge:.12g}",
    "less_than": "below {lt:.12g}",
    "less_than_equal": "at most {le:.12g}",
    "literal_error": "{expected}",
    "value_error": "{error}",
    "is_instance_of": "a node with a _target_",
}
"""The kinds of pydantic's errors, as what a value must be."""


def refusal(value: Any, annotation: Any) -> str | None:
    """Return what a value must be to be what an annotation allows, None if it is.

    Whole numbers count as numbers, but true and false do not, nor does text as anything else. Lists are tuples. An
    interpolation may be anything.
    """
    if isinstance(value, str) and "${" in value:
        return None
    try:
        validate(annotation)(plain(value))
    except ValidationError as error:
        details = error.errors(include_url=False)
        kinds = {detail["type"] for detail in details}
        weak = WEAK | {kind for kind, better in IMPLIED.items() if kinds & better}
        told = [detail for detail in details if detail["type"] not in weak] or details
        return " or ".join(dict.fromkeys(words(detail) for detail in told))
    return None


@cache
def validate(annotation: Any) -> Callable[[Any], Any]:
    """Make what checks values by an annotation; anything passes where pydantic does not understand it."""
    try:
        return TypeAdapter(of_plain(annotation), config=STRICT).validate_python
    except PydanticUserError:
        return TypeAdapter(Any).validate_python


def of_plain(annotation: Any) -> Any:
    """Turn an annotation into the same one of what `plain` makes of a value."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(of_plain(args[0]), *annotation.__metadata__)]
    if origin in (Union, UnionType):
        return Union[tuple(map(of_plain, args))]  # noqa: UP007  # of as many as there are
    if annotation is float:
        return Annotated[float, BeforeValidator(not_too_long)]
    if annotation in SCALARS or origin is Literal:
        return annotation
    if origin is tuple:
        return tuple[tuple(arg if arg is ... else of_plain(arg) for arg in args)]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[of_plain(args[0]), of_plain(args[1])]
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return tuple[of_plain(args[0]), ...]
    kind = origin or annotation
    return Node if isinstance(kind, type) and kind not in (object, Any, Parameter.empty) else Any


def plain(value: Any) -> Any:
    """Turn lists into tuples and objects into a `Node`, so that pydantic neither converts nor copies anything."""
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, Mapping) and "_target_" not in value:
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not hasattr(value, "_fields"):
        return tuple(map(plain, value))
    return Node()


def words(detail: ErrorDetails) -> str:
    """Say what an error of pydantic wants a value to be."""
    known = WORDS.get(detail["type"], detail["msg"].removeprefix("Input should be "))
    return known.format_map(detail.get("ctx", {}))


def written(value: Any) -> str:
    """Write a value as the command line and YAML have it, with text in quotes where it would be something else."""
    try:
        text = yaml.safe_dump(value, default_flow_style=True, width=inf, allow_unicode=True)
    except yaml.YAMLError:  # an object
        return repr(value)
    return text.removesuffix("\n").removesuffix("\n...")


class Checked:
    """Refuses arguments that the annotations of a constructor do not allow.

    Raises:
        InputError: with the argument and its range.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = checked(cls.__init__)


def checked(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that first checks its arguments."""

    @wraps(init)
    def checks_first(*args: Any, **kwargs: Any) -> None:
        known = parameters(init)
        for name, value in known.bind(*args, **kwargs).arguments.items():
            if (must := refusal(value, known.parameters[name].annotation)) is not None:
                raise InputError(f"{name}={written(value)}: must be {must}")
        init(*args, **kwargs)

    return cast(Callable[..., None], checks_first)


parameters = cache(lambda function: signature(function, eval_str=True))
