"""The bytes of prepared sequences, the same on every machine, and the fingerprint of the data."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from datamodules.preprocessing import Interactions

Bytes: TypeAlias = npt.NDArray[np.uint8]


class Prepared(NamedTuple):
    """Prepared sequences and the SHA-256 of each of their parts."""

    interactions: Interactions
    digests: Mapping[str, str]


def contents(interactions: Interactions) -> dict[str, Bytes]:
    """Return the bytes of each part. The suffix of a part's name is its type.

    Numbers are little-endian. Times are integers if all are whole, whatever type the log had. Ids are a JSON array of
    ASCII text, so an id may contain any character.
    """
    items, offsets, times, user_ids, item_ids = interactions
    times, dtype = (times, "float64") if (integers := as_integers(times)) is None else (integers, "int64")
    return {
        "items.int32": little_endian(items, np.int32),
        "offsets.int64": little_endian(offsets, np.int64),
        f"times.{dtype}": little_endian(times, np.dtype(dtype)),
        "user_ids.json": as_json(user_ids),
        "item_ids.json": as_json(item_ids),
    }


def from_contents(parts: Mapping[str, Bytes]) -> Interactions:
    """Return the sequences of the bytes of each part, without a copy of the numbers.

    Raises:
        ValueError: the bytes of a part are not of the type in its name.
        TypeError: a part is missing or unknown.
    """
    decoded: dict[str, Any] = {}
    for name, part in parts.items():
        field, _, dtype = name.partition(".")
        if dtype == "json":
            decoded[field] = pl.Series("id", json.loads(part.tobytes()), pl.String)
        else:
            decoded[field] = part.view(np.dtype(dtype).newbyteorder("<"))
    return Interactions(**decoded)


def digests(parts: Mapping[str, Bytes]) -> dict[str, str]:
    """Return the SHA-256 of each part, as 64 hexadecimal digits."""
    return {name: sha256(part.data).hexdigest() for name, part in parts.items()}


def fingerprint(part_digests: Mapping[str, str], has_times: bool) -> str:
    """Return the SHA-256 of prepared sequences, as 64 hexadecimal digits.

    Args:
        part_digests: the SHA-256 of each part.
        has_times: whether the data has times. If not, the times only count the items, and are left out.
    """
    hashed = {name: digest for name, digest in part_digests.items() if has_times or not name.startswith("times.")}
    return sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()


def as_integers(times: npt.NDArray[np.number]) -> npt.NDArray[np.int64] | None:
    """Return times as integers; None if some are not whole."""
    with np.errstate(invalid="ignore"):  # a number outside the range of int64 becomes another one, and so differs
        integers = times.astype(np.int64, copy=False)
    return integers if np.array_equal(integers, times) else None


def little_endian(array: npt.NDArray[np.number], dtype: npt.DTypeLike) -> Bytes:
    """Return the bytes of an array's numbers, without a copy if they are already stored in that form."""
    return np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).view(np.uint8)


def as_json(ids: pl.Series) -> Bytes:
    """Return ids as the bytes of a JSON array."""
    return np.frombuffer(json.dumps(ids.to_list()).encode(), np.uint8)
