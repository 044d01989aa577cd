"""To whom something is to be recommended: users of the log, or other people whose histories are in a file."""

from pathlib import Path

import numpy as np
import polars as pl

from adamct.errors import InputError, require
from adamct.predictions import People
from datamodules.preprocessing import Interactions
from datamodules.sources import Columns, read_log


def users_of_log(interactions: Interactions, file: Path | None) -> People:
    """All users with all of their items, or those whose ids are in a file, one a line, in its order.

    Raises:
        InputError: the file cannot be read, or names somebody who is not in the log.
    """
    everybody = np.arange(len(interactions.user_ids))
    chosen = everybody if file is None else numbers_of(file, interactions.user_ids)
    starts, lengths = interactions.offsets[chosen], np.diff(interactions.offsets)[chosen]
    offsets = np.concatenate(([0], lengths.cumsum()))
    index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return People(interactions.user_ids.gather(chosen), chosen, interactions.items[index], offsets)


def numbers_of(file: Path, user_ids: pl.Series) -> np.ndarray:
    """The numbers of the users whose ids are in a file."""
    try:
        lines = file.read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give a text file with a user id a line") from error
    known = {name: number for number, name in enumerate(user_ids)}
    wanted = [(row, line.strip()) for row, line in enumerate(lines, 1) if line.strip()]
    for row, name in wanted:
        require(name in known, f"{file}, line {row}: {name!r} is not a user of the prepared log")
    require(bool(wanted), f"{file}: empty; give a user id a line")
    return np.array([known[name] for _, name in wanted])


def others(file: Path, columns: Columns, item_ids: pl.Series) -> People:
    """Everybody in a log of any format, whose items must be some of those the model knows; others are passed over.

    Raises:
        InputError: the file cannot be read, or somebody has no item that the model knows.
    """
    log = read_log(file, columns)
    known = pl.DataFrame({"item": item_ids, "number": np.arange(1, len(item_ids) + 1, dtype=np.int32)})
    numbered = log.join(known, on="item", how="left", maintain_order="left").sort(
        "user", "timestamp", maintain_order=True
    )
    of_user = numbered.group_by("user", maintain_order=True).agg(pl.col("number").drop_nulls())
    lengths = of_user["number"].list.len()
    if (lengths == 0).any():
        nobody = of_user["user"].filter(lengths == 0)[0]
        raise InputError(f"{file}: user {nobody!r} has no item that the model knows; leave this user out")
    offsets = np.concatenate(([0], lengths.to_numpy().cumsum(dtype=np.int64)))
    return People(of_user["user"], np.zeros(len(of_user), np.int64), of_user["number"].explode().to_numpy(), offsets)
