"""Prepared arrays on disk: built once whoever asks first, then memory-mapped by everybody."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
from filelock import FileLock

from datamodules.preprocessing import Interactions


def load_or_build(folder: Path, facts: dict[str, object], build: Callable[[], Interactions]) -> Interactions:
    """The interactions that ``facts`` determine, built at most once per folder.

    Processes that ask at the same time wait for the one that builds. The result appears under its final name only
    when it is complete.

    Args:
        folder: where cached datasets live; made if missing.
        facts: everything the result depends on, the file's hash included.
        build: makes the interactions.
    """
    key = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    entry = folder / key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{key}.lock"):
        if not entry.exists():
            save(build(), entry, facts)
    return load(entry)


def save(interactions: Interactions, entry: Path, facts: dict[str, object]) -> None:
    """Write all files beside their place, then move them there in one step."""
    partial = entry.with_name(f"{entry.name}.partial")  # nobody else writes while the lock is held
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        np.save(partial / "items.npy", interactions.items)
        np.save(partial / "offsets.npy", interactions.offsets)
        np.save(partial / "times.npy", interactions.times)
        interactions.user_ids.to_frame("id").write_parquet(partial / "user_ids.parquet")
        interactions.item_ids.to_frame("id").write_parquet(partial / "item_ids.parquet")
        (partial / "facts.json").write_text(json.dumps(facts, indent=2))
        partial.rename(entry)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno and not error.filename:  # NumPy does not say which file
            raise OSError(error.errno, error.strerror, str(entry)) from error
        raise


def load(entry: Path) -> Interactions:
    """Map the arrays copy-on-write: processes share their pages, and torch may wrap them."""
    return Interactions(
        items=np.load(entry / "items.npy", mmap_mode="c"),
        offsets=np.load(entry / "offsets.npy", mmap_mode="c"),
        times=np.load(entry / "times.npy", mmap_mode="c"),
        user_ids=pl.read_parquet(entry / "user_ids.parquet")["id"],
        item_ids=pl.read_parquet(entry / "item_ids.parquet")["id"],
    )
