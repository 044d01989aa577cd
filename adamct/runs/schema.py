"""Checks every key of a config before anything is built, read or written.

`Config` has the plain keys of ``conf/config.yaml``. All other keys are arguments of what a ``_target_`` names, and are
checked by the annotations of its parameters: a new model needs no more than its constructor.
"""

from collections.abc import Iterator, Mapping, Sequence
from inspect import Parameter, Signature, isclass
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypedDict, get_type_hints, is_typeddict

from annotated_types import Ge, Gt, Le, MinLen

from adamct.errors import InputError, on_one_line
from adamct.keys import keys, nearest
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
    parameters,
    refusal,
    written,
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
    """The keys of ``conf/config.yaml``; the groups are nodes."""

    seed: Seed
    label: Text | None
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
    trainer: Node
    logger: Node | None
    callbacks: Mapping[str, Node]
    data_dir: Text
    output_dir: Text


Limit: TypeAlias = PositiveInt | Annotated[float, Gt(0), Le(1)] | None
"""A number of batches, or a share of them."""


class Trainer(TypedDict):
    """The keys of Lightning's trainer whose ranges its annotations leave out."""

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
"""Annotations in place of those of a ``_target_``."""
SET_BY_A_RUN = {"pytorch_lightning.Trainer": ("callbacks", "logger", "enable_checkpointing", "default_root_dir")}
"""Arguments of a ``_target_`` that a run sets itself, so that a config cannot."""
NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
OF_HYDRA = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")
"""The keys of a node that are no arguments."""


class Takes(NamedTuple):
    """The names that can stand below a key."""

    named: Mapping[str, Any]
    """The names and their annotations."""
    all_of_them: bool = False
    """Whether each must be there."""
    others: bool = False
    """Whether other names may be there."""


def check(config: Mapping[str, Any]) -> None:
    """Refuse a config with keys that do not exist or values that their keys cannot have.

    The plain keys come first: a mistake in them is told without torch.

    Args:
        config: the whole config as plain containers, without interpolations.

    Raises:
        InputError: with each wrong key, its value and what it must be.
    """
    wrong = list(complaints("", config, keys_of(Config), config))
    if not wrong and "fit" in config["stages"] and config["ckpt"] is not None:
        wrong = [f"ckpt={written(config['ckpt'])}: is for stages without fit; resume=PATH goes on with a training"]
    if wrong:
        raise InputError("; ".join(wrong))
    check_nodes("", config)


def check_nodes(key: str, config: Mapping[str, Any]) -> None:
    """Refuse wrong keys and values in the nodes of a config, which may be the part of another below a key."""
    found = [(place, node, taken_by(place, node)) for place, node in nodes(key, config)]
    if wrong := [line for place, node, takes in found for line in complaints(place, node, takes, config)]:
        raise InputError("; ".join(wrong))


def may_be_null(key: str) -> bool:
    """Whether a plain key may be null."""
    known = keys_of(Config).named
    return key in known and refusal(None, known[key]) is None


def complaints(key: str, values: Mapping[str, Any], takes: Takes, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing that is wrong with the values below a key."""
    for name in [name for name in takes.named if takes.all_of_them and name not in values]:
        yield f"{below(key, name)} is not set: give {below(key, name)}=VALUE"
    for name, value in values.items():
        full, annotation = below(key, name), takes.named.get(name, Any)
        if name not in takes.named and not takes.others:
            known = keys(config) | {below(key, other) for other in takes.named}
            yield f"{full}: there is no such key{nearest(full, known)}"
        elif is_typeddict(annotation) and isinstance(value, Mapping):
            yield from complaints(full, value, keys_of(annotation), config)
        elif (must := refusal(value, annotation)) is not None:
            yield f"{full}={written(value)}: must be {must}"


def below(key: str, name: object) -> str:
    """Join a key and a name within it."""
    return f"{key}.{name}" if key else str(name)


def nodes(key: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each node of a config, wherever it stands, with its key."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield key, value
        for name, inner in value.items():
            yield from nodes(below(key, name), inner)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from nodes(f"{key}[{place}]", inner)


def keys_of(typed_dict: type) -> Takes:
    """Return the keys of a typed dict."""
    return Takes(get_type_hints(typed_dict, include_extras=True), all_of_them=True)


def taken_by(key: str, node: Mapping[str, Any]) -> Takes:
    """Return the arguments of what a node's ``_target_`` names.

    A function that passes other arguments on to the class that it returns takes those of the class as well.

    Raises:
        InputError: there is no such class or function.
    """
    try:
        target = resolve_name(node["_target_"])
    except Exception as error:  # whatever happens while a module is imported
        extra = "; is it in an extra, such as pip install -e '.[search]'?" if isinstance(error, ImportError) else ""
        raise InputError(f"{key}._target_={written(node['_target_'])}: {on_one_line(error)}{extra}") from error
    name = node["_target_"]
    annotations, others = arguments(target)
    ranges = keys_of(RANGES[name]).named if name in RANGES else {}
    taken = {**dict.fromkeys(OF_HYDRA, Any), **annotations, **ranges}
    return Takes({key: taken[key] for key in taken if key not in SET_BY_A_RUN.get(name, ())}, others=others)


def arguments(target: Any) -> tuple[dict[str, Any], bool]:
    """Return the annotations of a callable's arguments, and whether it takes others as well.

    It takes any where its signature cannot be read: of a class written in C, or of annotations without a meaning.
    """
    try:
        signature = parameters(target)
    except (TypeError, ValueError, NameError):
        return {}, True
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    named = {name: signature.parameters[name].annotation for name, kind in kinds.items() if kind in NAMED}
    if Parameter.VAR_KEYWORD not in kinds.values():
        return named, False
    if isclass(signature.return_annotation) and signature.return_annotation is not Signature.empty:
        further, others = arguments(signature.return_annotation)
        return {**further, **named}, others
    return named, True
