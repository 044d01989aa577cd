"""Ranges of values as annotations, and their check. Imports no torch.

A parameter's annotation is the only statement of the values that it takes. `adamct.runs.schema` checks a config by the
annotations, and `Checked` checks a call from Python.
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
    """Return the number if it is odd.

    Raises:
        ValueError: the number is even.
    """
    if number % 2 == 0:
        raise ValueError("odd, so that the length stays as it is")
    return number


def within_64_bits(number: Any) -> Any:
    """Return the value unless it is an integer that does not fit into 64 bits.

    Raises:
        ValueError: it does not fit, so that libraries cannot convert it to a float.
    """
    if isinstance(number, int) and not -(2**63) <= number < 2**63:
        raise ValueError("a number of 64 bits")
    return number


LARGEST = 2**31 - 1
"""The largest count: users and items have 32-bit numbers."""
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


VAGUE = {"is_instance_of", "too_short"}
"""Kinds of errors that are reported only if there is no other kind."""
IMPLIED = {"int_type": {"float_type", "finite_number"}}
"""Kinds of errors that are not reported beside other kinds."""


class Node:
    """Stand-in for an object: a config node with a ``_target_``, or its instance."""


STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
SCALARS = (bool, int, float, str, NoneType)
DESCRIPTIONS = {
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
"""Descriptions of the values that are allowed, by the kinds of pydantic's errors."""


def refusal(value: Any, annotation: Any) -> str | None:
    """Return a description of the values that an annotation allows; None if it allows the value.

    An int is allowed as a float. A bool is not allowed as a number, and text is allowed as text only. A list counts
    as a tuple. An interpolation is always allowed.
    """
    if isinstance(value, str) and "${" in value:
        return None
    try:
        validate(annotation)(plain(value))
    except ValidationError as error:
        details = error.errors(include_url=False)
        kinds = {detail["type"] for detail in details}
        vague = VAGUE | {kind for kind, better in IMPLIED.items() if kinds & better}
        reported = [detail for detail in details if detail["type"] not in vague] or details
        return " or ".join(dict.fromkeys(describe(detail) for detail in reported))
    return None


@cache
def validate(annotation: Any) -> Callable[[Any], Any]:
    """Return a validator for an annotation; it accepts anything if pydantic does not support the annotation."""
    try:
        return TypeAdapter(plain_annotation(annotation), config=STRICT).validate_python
    except PydanticUserError:
        return TypeAdapter(Any).validate_python


def plain_annotation(annotation: Any) -> Any:
    """Convert an annotation of a value into the annotation of what `plain` makes of the value."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(plain_annotation(args[0]), *annotation.__metadata__)]
    if origin in (Union, UnionType):
        return Union[tuple(map(plain_annotation, args))]  # noqa: UP007  # any number of members
    if annotation is float:
        return Annotated[float, BeforeValidator(within_64_bits)]
    if annotation in SCALARS or origin is Literal:
        return annotation
    if origin is tuple:
        return tuple[tuple(arg if arg is ... else plain_annotation(arg) for arg in args)]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[plain_annotation(args[0]), plain_annotation(args[1])]
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return tuple[plain_annotation(args[0]), ...]
    kind = origin or annotation
    return Node if isinstance(kind, type) and kind not in (object, Any, Parameter.empty) else Any


def plain(value: Any) -> Any:
    """Convert lists to tuples and objects to a `Node`, so that pydantic converts and copies nothing."""
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, Mapping) and "_target_" not in value:
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not hasattr(value, "_fields"):
        return tuple(map(plain, value))
    return Node()


def describe(detail: ErrorDetails) -> str:
    """Describe the values that an error of pydantic asks for."""
    template = DESCRIPTIONS.get(detail["type"], detail["msg"].removeprefix("Input should be "))
    return template.format_map(detail.get("ctx", {}))


def as_yaml(value: Any) -> str:
    """Write a value as YAML and the command line do, with quotes around text that would be read as another type."""
    try:
        text = yaml.safe_dump(value, default_flow_style=True, width=inf, allow_unicode=True)
    except yaml.YAMLError:  # an object
        return repr(value)
    return text.removesuffix("\n").removesuffix("\n...")


class Checked:
    """Base class whose constructors refuse arguments that their annotations do not allow.

    Raises:
        InputError: names the argument and its range.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = checked(cls.__init__)


def checked(init: Callable[..., None]) -> Callable[..., None]:
    """Return the constructor with a check of its arguments in front."""

    @wraps(init)
    def checks_first(*args: Any, **kwargs: Any) -> None:
        arguments = parameters(init)
        for name, value in arguments.bind(*args, **kwargs).arguments.items():
            if (must := refusal(value, arguments.parameters[name].annotation)) is not None:
                raise InputError(f"{name}={as_yaml(value)}: must be {must}")
        init(*args, **kwargs)

    return cast(Callable[..., None], checks_first)


parameters = cache(lambda function: signature(function, eval_str=True))
