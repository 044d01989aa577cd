"""The bytes that prepared sequences consist of, the same on every machine, and the hash that names the data."""

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
    """Return the bytes of each part, by a name that ends in the kind of its bytes.

    Numbers are little-endian. Times that are all whole are integers, whatever kind of number the log had. Ids are a
    JSON array of ASCII text: any character can be in an id without ending it.
    """
    items, offsets, times, user_ids, item_ids = interactions
    times, kind = (times, "float64") if (whole := as_integers(times)) is None else (whole, "int64")
    return {
        "items.int32": little_endian(items, np.int32),
        "offsets.int64": little_endian(offsets, np.int64),
        f"times.{kind}": little_endian(times, np.dtype(kind)),
        "user_ids.json": as_json(user_ids),
        "item_ids.json": as_json(item_ids),
    }


def from_contents(parts: Mapping[str, Bytes]) -> Interactions:
    """Return the sequences that consist of some bytes, without a copy of the numbers.

    Raises:
        ValueError: the bytes of a part are not of the kind that its name tells.
        TypeError: a part is missing or unknown.
    """
    decoded: dict[str, Any] = {}
    for name, part in parts.items():
        field, _, kind = name.partition(".")
        if kind == "json":
            decoded[field] = pl.Series("id", json.loads(part.tobytes()), pl.String)
        else:
            decoded[field] = part.view(np.dtype(kind).newbyteorder("<"))
    return Interactions(**decoded)


def digests(parts: Mapping[str, Bytes]) -> dict[str, str]:
    """Return the SHA-256 of each part, as 64 hexadecimal digits."""
    return {name: sha256(part.data).hexdigest() for name, part in parts.items()}


def fingerprint(of_parts: Mapping[str, str], has_times: bool) -> str:
    """Return the SHA-256 of prepared sequences, as 64 hexadecimal digits.

    Args:
        of_parts: the SHA-256 of each part.
        has_times: whether the data tells times; where it does not, the times only count the items and are left out.
    """
    hashed = {name: digest for name, digest in of_parts.items() if has_times or not name.startswith("times.")}
    return sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()


def as_integers(times: npt.NDArray[np.number]) -> npt.NDArray[np.int64] | None:
    """Return times as integers, None if some are not whole."""
    with np.errstate(invalid="ignore"):  # those beyond the integers become others, and so differ
        whole = times.astype(np.int64, copy=False)
    return whole if np.array_equal(whole, times) else None


def little_endian(array: npt.NDArray[np.number], dtype: npt.DTypeLike) -> Bytes:
    """Return the bytes of an array's numbers, without a copy where they are stored like that already."""
    return np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).view(np.uint8)


def as_json(ids: pl.Series) -> Bytes:
    """Return ids as the bytes of a JSON array."""
    return np.frombuffer(json.dumps(ids.to_list()).encode(), np.uint8)
