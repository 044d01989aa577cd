"""Prepared data on disk: built once by the first process that asks, then checked and memory-mapped by all."""

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

ABOUT = "facts.json"
"""The file of an entry that tells what determines it, and the SHA-256 of each of its other files."""


def load_or_build(folder: Path, facts: dict[str, object], build: Callable[[], Interactions]) -> Prepared:
    """Return the data that some facts determine, built at most once per folder.

    Processes that ask at the same time wait for the one that builds. What is damaged is built again. An entry that is
    whole is read without a lock, so its folder may be read-only.

    Args:
        folder: where cached datasets are; made if missing.
        facts: everything the result depends on, the source's hash included.
        build: makes the interactions.

    Raises:
        InputError: the data must be built, and the folder cannot be written to.
    """
    key = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    entry = folder / key
    if (prepared := load(entry, facts)) is not None:
        return prepared
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{entry}.lock").acquire()
    with lock:
        if (prepared := load(entry, facts)) is None:  # nobody has built it in the meantime
            if os.path.lexists(entry):
                print(f"{entry}: damaged; the data is prepared again", file=sys.stderr)
            save(contents(build()), entry, facts)
            prepared = load(entry, facts)
    if prepared is None:
        raise InputError(f"{entry}: differs from what was just written there; check the disk")
    return prepared


def save(parts: Mapping[str, Bytes], entry: Path, facts: dict[str, object]) -> None:
    """Write an entry under another name, then move it to its place.

    A damaged entry is moved away and never written to: other processes may have mapped its files.
    """
    workspace = entry.with_name(f"{entry.name}.partial")  # no other process writes while the lock is held
    new = workspace / "new"
    shutil.rmtree(workspace, ignore_errors=True)  # left by a process that was killed
    try:
        with writing(entry.parent):
            new.mkdir(parents=True)
            for name, part in parts.items():
                (new / name).write_bytes(part.data)
            (new / ABOUT).write_text(json.dumps({"facts": facts, "sha256": digests(parts)}, indent=2))
            if os.path.lexists(entry):
                entry.rename(workspace / "old")
            new.rename(entry)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def load(entry: Path, facts: dict[str, object]) -> Prepared | None:
    """Map the files of an entry; return None if it is missing, or anything but what was written.

    They are mapped copy-on-write: processes share their pages, and torch may wrap them.
    """
    try:
        about = json.loads((entry / ABOUT).read_text())
        expected = about["sha256"]
        parts = {name: np.memmap(entry / name, np.uint8, "c") for name in expected}
        if about["facts"] == facts and digests(parts) == expected:
            return Prepared(from_contents(parts), expected)
    except (OSError, ValueError, KeyError, TypeError):  # of a missing, empty, cut or foreign file
        pass
    return None
