"""The check of a config, before a run builds, reads or writes anything.

`Config` has the top-level keys of ``conf/config.yaml``. All other keys are arguments of a ``_target_``, and its
annotations check them: a new model needs only its constructor.
"""

from collections.abc import Iterator, Mapping, Sequence
from inspect import Parameter, Signature, isclass
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypedDict, get_type_hints, is_typeddict

from annotated_types import Ge, Gt, Le, MinLen

from adamct.errors import InputError, on_one_line
from adamct.extras import require_extras
from adamct.keys import keys, nearest
from adamct.runs.feasibility import require_feasible
from adamct.values import (
    CompileMode,
    MatmulPrecision,
    Node,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Seed,
    Stage,
    TableFormat,
    Text,
    as_yaml,
    parameters,
    refusal,
)


class Predict(TypedDict):
    """The keys of ``predict``."""

    k: PositiveInt
    unseen: bool
    users: Text | None
    histories: Text | None
    columns: Node
    titles: Text | None
    format: TableFormat


class Config(TypedDict):
    """The top-level keys of a config; most groups are nodes."""

    seed: Seed
    label: Text | None
    preview: bool
    stages: Annotated[Sequence[Stage], MinLen(1)]
    ckpt: Text | None
    resume: Text | None
    monitor: Text
    select_per_ranking: bool
    patience: PositiveInt
    cutoffs: Annotated[Sequence[PositiveInt], MinLen(1)]
    predict: Predict
    save_every_n_steps: PositiveInt | None
    compile: CompileMode | None
    compile_widths: PositiveInt
    threads: PositiveInt | Literal["auto"]
    matmul_precision: MatmulPrecision
    optimizer: Node
    dataset: Node
    scheduler: Node | None
    loss: Node
    model: Node
    references: Mapping[str, Node]
    trainer: Node
    logger: Mapping[str, Node]
    callbacks: Mapping[str, Node]
    data_dir: Text
    output_dir: Text


Limit: TypeAlias = PositiveInt | Annotated[float, Gt(0), Le(1)] | None
"""A number of batches, or a fraction of them; None keeps the default of Lightning."""


class Trainer(TypedDict):
    """The keys of Lightning's Trainer whose annotations have no ranges."""

    num_nodes: PositiveInt
    max_epochs: Annotated[int, Ge(-1)] | None
    min_epochs: NonNegativeInt | None
    max_steps: Annotated[int, Ge(-1)]
    min_steps: NonNegativeInt | None
    gradient_clip_val: NonNegativeFloat | None
    gradient_clip_algorithm: Literal["norm", "value"] | None
    accumulate_grad_batches: PositiveInt
    check_val_every_n_epoch: PositiveInt | None
    val_check_interval: Limit | Text
    limit_train_batches: Limit
    limit_val_batches: Limit
    limit_test_batches: Limit
    log_every_n_steps: PositiveInt
    num_sanity_val_steps: Annotated[int, Ge(-1)]


RANGES = {"pytorch_lightning.Trainer": Trainer}
"""Annotations that replace those of a ``_target_``."""
SET_BY_RUN = {"pytorch_lightning.Trainer": ("callbacks", "logger", "enable_checkpointing", "default_root_dir")}
"""Arguments of a ``_target_`` that a run sets itself; a config cannot set them."""
BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
HYDRA_KEYS = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")
"""The keys of a node that are not arguments."""


class Allowed(NamedTuple):
    """The names that are allowed below a key."""

    annotations: Mapping[str, Any]
    """The annotation of each name."""
    all_required: bool = False
    """Whether every name must be present."""
    others: bool = False
    """Whether other names are allowed too."""


def check(config: Mapping[str, Any]) -> None:
    """Refuse a config with keys that do not exist, or with values that their keys cannot have.

    It first checks the top-level keys, what `require_feasible` refuses, and the extras. This needs no import of torch.

    Args:
        config: the whole config as plain containers, without interpolations.

    Raises:
        InputError: names each wrong key, its value and the allowed values, or a missing extra.
    """
    if wrong := list(mistakes("", config, keys_of(Config), config)):
        raise InputError("; ".join(wrong))
    require_feasible(config)
    check_nodes("", config)


def check_nodes(key: str, config: Mapping[str, Any]) -> None:
    """Refuse wrong keys and values in the nodes of a config, and nodes whose extra is not installed.

    Args:
        key: the dotted key of this config in a larger one; empty for a whole config.
        config: the config.

    Raises:
        InputError: names each wrong key, its value and the allowed values.
    """
    for place, node in nodes(key, config):
        require_extras(place, node)
    checks = [(place, node, arguments_of_node(place, node)) for place, node in nodes(key, config)]
    if wrong := [line for place, node, allowed in checks for line in mistakes(place, node, allowed, config)]:
        raise InputError("; ".join(wrong))


def may_be_empty(key: str) -> bool:
    """Return whether a top-level key may be null or hold no nodes."""
    annotations = keys_of(Config).annotations
    return key in annotations and any(refusal(value, annotations[key]) is None for value in (None, {}))


def mistakes(key: str, values: Mapping[str, Any], allowed: Allowed, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield an error message for each wrong name or value below a key."""
    annotations = allowed.annotations
    for name in [name for name in annotations if allowed.all_required and name not in values]:
        yield f"{join(key, name)} is not set: give {join(key, name)}=VALUE"
    for name, value in values.items():
        full, annotation = join(key, name), annotations.get(name, Any)
        if name not in annotations and not allowed.others:
            candidates = keys(config) | {join(key, other) for other in annotations}
            yield f"{full}: there is no such key{nearest(full, candidates)}"
        elif is_typeddict(annotation) and isinstance(value, Mapping):
            yield from mistakes(full, value, keys_of(annotation), config)
        elif (must := refusal(value, annotation)) is not None:
            yield f"{full}={as_yaml(value)}: must be {must}"


def join(key: str, name: object) -> str:
    """Return the dotted key of a name below a key."""
    return f"{key}.{name}" if key else str(name)


def nodes(key: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each node of a config, at any depth, with its key."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield key, value
        for name, inner in value.items():
            yield from nodes(join(key, name), inner)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from nodes(f"{key}[{place}]", inner)


def keys_of(typed_dict: type) -> Allowed:
    """Return the keys of a typed dict, all of which are required."""
    return Allowed(get_type_hints(typed_dict, include_extras=True), all_required=True)


def arguments_of_node(key: str, node: Mapping[str, Any]) -> Allowed:
    """Return the arguments that a node's ``_target_`` accepts.

    A function with ``**kwargs`` also accepts the arguments of the class that it returns.

    Raises:
        InputError: there is no such class or function.
    """
    try:
        target = resolve_name(node["_target_"])
    except Exception as error:  # the import of a module can raise any error
        extra = "; is it in an extra, such as pip install -e '.[search]'?" if isinstance(error, ImportError) else ""
        raise InputError(f"{key}._target_={as_yaml(node['_target_'])}: {on_one_line(error)}{extra}") from error
    name = node["_target_"]
    annotations, others = arguments(target)
    ranges = keys_of(RANGES[name]).annotations if name in RANGES else {}
    accepted = {**dict.fromkeys(HYDRA_KEYS, Any), **annotations, **ranges}
    for argument in SET_BY_RUN.get(name, ()):
        accepted.pop(argument, None)
    return Allowed(accepted, others=others)


def arguments(target: Any) -> tuple[dict[str, Any], bool]:
    """Return the annotations of a callable's arguments, and whether it accepts other arguments too.

    A callable accepts any argument if its signature cannot be read: a class written in C, or unresolvable annotations.
    """
    try:
        signature = parameters(target)
    except (TypeError, ValueError, NameError):
        return {}, True
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    annotations = {name: signature.parameters[name].annotation for name, kind in kinds.items() if kind in BY_NAME}
    if Parameter.VAR_KEYWORD not in kinds.values():
        return annotations, False
    if isclass(signature.return_annotation) and signature.return_annotation is not Signature.empty:
        of_class, others = arguments(signature.return_annotation)
        return {**of_class, **annotations}, others
    return annotations, True
