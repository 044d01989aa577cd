"""The records of a run's .wandb file, which W&B writes offline and would send to its server."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

HEADER, BLOCK = 7, 2**15
"""The bytes in front of the records of a file, and those of a block."""
WHOLE, LAST = 1, 4
"""The kinds of the last part of a record, whose parts are in several blocks if it does not fit into one."""


class Sent(NamedTuple):
    """What a file holds of a run, in order."""

    config: dict[str, Any]
    """The run's config, nested as it was given."""
    history: list[dict[str, Any]]
    """The logged values of each step."""
    summary: dict[str, Any]
    """The values of the summary that were set."""
    metrics: dict[str, list[str]]
    """The aggregates that a metric's summary shows, by the metric's name or pattern."""
    files: list[str]
    """The paths of uploaded files, such as images."""
    exit_codes: list[int]
    """The codes that the run finished with."""


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a file."""
    record_type = import_module("wandb.proto.wandb_internal_pb2").Record  # the file's format has no public reader
    data, place, parts = path.read_bytes(), HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:  # the rest of a block is too small for a header
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (WHOLE, LAST):
            yield record_type.FromString(parts)
            parts = b""


def values(items: Any) -> dict[str, Any]:
    """Return the values of JSON items by their keys; nested keys are joined by dots."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def read(path: Path) -> Sent:
    """Read a file."""
    sent = Sent({}, [], {}, {}, [], [])
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            sent.config.update(values(record.run.config.update))
        elif kind == "config":
            sent.config.update(values(record.config.update))
        elif kind == "history":
            sent.history.append(values(record.history.item))
        elif kind == "summary":
            sent.summary.update(values(record.summary.update))
        elif kind == "metric":
            name = record.metric.name or record.metric.glob_name
            sent.metrics[name] = [field.name for field, on in record.metric.summary.ListFields() if on]
        elif kind == "files":
            sent.files.extend(file.path for file in record.files.files)
        elif kind == "exit":
            sent.exit_codes.append(record.exit.exit_code)
    return sent
