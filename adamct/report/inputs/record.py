"""The types of the files that a report reads. Each file is checked once, when it is read."""

import json
from pathlib import Path
from typing import Annotated, Any, NotRequired

import yaml
from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # which pydantic wants before Python 3.12

from adamct.errors import InputError, on_one_line
from adamct.identity import PROTOCOL, differences

REMEDY = "run the command again, or remove the folder"

MetricKey = Annotated[str, StringConstraints(pattern=r"^(val|test)/\w+/[a-z]+(@[0-9]+)?$")]
Score = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def require_equal_lengths(history: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    """Return the history if every key has a value for each epoch.

    Raises:
        ValueError: the lists have different lengths.
    """
    if len(set(map(len, history.values()))) > 1:
        raise ValueError("lists of different lengths")
    return history


class Config(TypedDict):
    """The config of a run."""

    monitor: MetricKey | None
    """None for lists that ``python -m adamct.evaluate`` has ranked, which have no validation."""
    model: NotRequired[dict[str, Any]]
    dataset: dict[str, Any]


class Chosen(TypedDict):
    """The checkpoint that a ranking is tested with."""

    monitor: str | None
    epoch: int


class HeldOut(TypedDict):
    """The statistics of the held-out items."""

    test_tied: NotRequired[Score | None]


class Dataset(TypedDict):
    """The data of a run."""

    sha256: str
    num_users: Annotated[int, Field(ge=1)]
    num_items: Annotated[int, Field(ge=1)]
    source_sha256: NotRequired[str | None]
    statistics: NotRequired[dict[str, Score]]
    held_out: NotRequired[HeldOut]


class Record(TypedDict):
    """The record of a run, ``results.json``."""

    metrics: dict[MetricKey, Score]
    config: Config
    cost: dict[str, Score | None]
    dataset: Dataset
    seed: int
    identity: dict[str, Any]
    choices: dict[str, str | None]
    overrides: list[str]
    references: NotRequired[dict[str, dict[MetricKey, Score]]]
    chosen: NotRequired[dict[str, Chosen]]
    ended_by: NotRequired[str | None]
    pruned: NotRequired[bool]
    git_commit: NotRequired[str | None]
    versions: NotRequired[dict[str, str]]
    device: NotRequired[str | None]
    threads: NotRequired[int | None]
    host: NotRequired[str | None]
    history: NotRequired[Annotated[dict[str, list[float | None]], AfterValidator(require_equal_lengths)]]


def require_consistent(record: Record) -> Record:
    """Return the record if it has the metric that it monitored, and its data and protocol match its identity.

    Raises:
        ValueError: a part contradicts another.
    """
    monitor = record["config"]["monitor"]
    if monitor is not None and monitor not in record["metrics"]:
        raise ValueError(f"metrics lacks {monitor}, which config.monitor names")
    data = record["dataset"]
    facts = {"sha256": data["sha256"], "num_users": data["num_users"], "num_items": data["num_items"]}
    measured = {"dataset": record["config"]["dataset"] | facts}
    for key, value, other in differences(record["identity"], measured, (*PROTOCOL, "dataset.negatives.seed")):
        raise ValueError(f"{key} is {other}, but {value} in identity")
    return record


class Sweeper(TypedDict):
    """The config of Hydra's sweeper."""

    _target_: NotRequired[str]
    params: NotRequired[dict[str, Any] | None]
    jobs: NotRequired[list[list[str]] | None]
    study_name: NotRequired[str]
    storage: NotRequired[str | None]


class SweepOverrides(TypedDict):
    """The overrides of a sweep on the command line."""

    task: NotRequired[list[str]]


class SweepHydra(TypedDict):
    """Hydra's own part of the config of a sweep."""

    sweeper: Sweeper
    overrides: NotRequired[SweepOverrides]


class Multirun(TypedDict):
    """The config of a sweep, ``multirun.yaml``."""

    hydra: SweepHydra
    monitor: NotRequired[str]


class Runtime(TypedDict):
    """The facts that Hydra writes down when a job begins."""

    choices: dict[str, str | None]


class JobHydra(TypedDict):
    """Hydra's own part of the config of a job."""

    runtime: Runtime


class Job(TypedDict):
    """The config of a job's Hydra, ``.hydra/hydra.yaml``."""

    hydra: JobHydra


RECORD = TypeAdapter(Annotated[Record, AfterValidator(require_consistent)])
MULTIRUN, JOB = TypeAdapter(Multirun), TypeAdapter(Job)
OVERRIDES, CONFIG = TypeAdapter(list[str]), TypeAdapter(dict[str, Any])


def read(path: Path, kind: TypeAdapter) -> Any:
    """Read a JSON or YAML file and check its type.

    Returns:
        The content as JSON has it: all keys are strings. None if the file does not exist, or is a YAML file that Hydra
        has not filled yet.

    Raises:
        InputError: the file cannot be read, or has another type.
    """
    try:
        text = path.read_bytes()
        if path.suffix == ".yaml":
            text = json.dumps(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), default=str)
        content = json.loads(text)
        if content is None and path.suffix == ".yaml":
            return None
        kind.validate_python(content, strict=True)
        return content
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        why = f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
        raise InputError(damage(path, why)) from error
    except (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise InputError(damage(path, getattr(error, "strerror", None) or on_one_line(error))) from error


def damage(path: Path, why: str) -> str:
    """Return an error message: the file, why it cannot be used, and what to do."""
    return f"{path}: damaged or unexpected ({why}); {REMEDY}"
