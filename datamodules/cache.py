"""The cache of prepared data on disk. One process builds an entry; every process checks and memory-maps it."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from filelock import FileLock

from adamct.errors import InputError, writing
from datamodules.fingerprint import Bytes, Prepared, contents, digests, from_contents
from datamodules.preprocessing import Interactions
from datamodules.sources import CACHE_TAG

FACTS = "facts.json"
"""The file of an entry with the facts that determine it and the SHA-256 of each of its other files."""
SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55\n"
"""The content of `CACHE_TAG`."""


def load_or_build(folder: Path, facts: dict[str, object], build: Callable[[], Interactions]) -> Prepared:
    """Return the data that is determined by some facts, and build it if the cache does not have it.

    Processes that need the same data at the same time wait for one that builds it. A damaged entry is built again. An
    undamaged entry is read without a lock, so its folder may be read-only.

    Args:
        folder: the folder of the cache, which is made if it is missing.
        facts: all facts that determine the data, including the hash of its source.
        build: builds the data.

    Raises:
        InputError: the data must be built, but the folder cannot be written.
    """
    key = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    entry = folder / key
    if (prepared := load(entry, facts)) is not None:
        return prepared
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CACHE_TAG).write_bytes(SIGNATURE)  # so that a log in the folder above does not include the cache
        lock = FileLock(f"{entry}.lock").acquire()
    with lock:
        if (prepared := load(entry, facts)) is None:  # no other process has built it meanwhile
            if os.path.lexists(entry):
                print(f"{entry}: damaged; the data is prepared again", file=sys.stderr)
            save(contents(build()), entry, facts)
            prepared = load(entry, facts)
    if prepared is None:
        raise InputError(f"{entry}: differs from the data that was just written there; check the disk")
    return prepared


def save(parts: Mapping[str, Bytes], entry: Path, facts: dict[str, object]) -> None:
    """Write an entry under another name, then rename it.

    A damaged entry is moved away, never written to: other processes may have mapped its files.
    """
    workspace = entry.with_name(f"{entry.name}.partial")  # no other process writes while the lock is held
    new = workspace / "new"
    shutil.rmtree(workspace, ignore_errors=True)  # left by a process that was killed
    try:
        with writing(entry.parent):
            new.mkdir(parents=True)
            for name, part in parts.items():
                (new / name).write_bytes(part.data)
            (new / FACTS).write_text(json.dumps({"facts": facts, "sha256": digests(parts)}, indent=2), encoding="utf-8")
            if os.path.lexists(entry):
                entry.rename(workspace / "old")
            new.rename(entry)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def load(entry: Path, facts: dict[str, object]) -> Prepared | None:
    """Map the files of an entry. Return None if it is missing or damaged.

    The files are mapped copy-on-write: processes share their pages, and torch can use them without a copy.
    """
    try:
        content = json.loads((entry / FACTS).read_text(encoding="utf-8"))
        expected = content["sha256"]
        parts = {name: np.memmap(entry / name, np.uint8, "c") for name in expected}
        if content["facts"] == facts and digests(parts) == expected:
            return Prepared(from_contents(parts), expected)
    except (OSError, ValueError, KeyError, TypeError):  # the file is missing, empty, cut or of another kind
        pass
    return None
