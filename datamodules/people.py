"""The people to recommend to: users of the log, or others whose histories are in a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from adamct.batch import People
from adamct.errors import InputError, require
from datamodules.columns import Columns
from datamodules.preprocessing import Interactions
from datamodules.sources import read_log


def people_of(
    interactions: Interactions, users: str | None, histories: str | None, columns: Columns, only_users: bool
) -> People:
    """Return the people to recommend to.

    Args:
        interactions: the log.
        users: a file of user ids, one a line; None for all users of the log.
        histories: a log of other people; None for users of the log.
        columns: the columns of that log.
        only_users: whether the model can recommend to users of the log only.

    Raises:
        InputError: both files are given, the model cannot use the histories, or a file cannot be used.
    """
    require(None in (users, histories), "predict.users and predict.histories: give one of them")
    if histories is None:
        return users_of_log(interactions, None if users is None else Path(users))
    require(not only_users, "predict.histories: the model has an embedding for each user, so it knows only its users")
    return others(Path(histories), columns, interactions.item_ids)


def users_of_log(interactions: Interactions, file: Path | None) -> People:
    """Return all users with all of their items, or those whose ids are in a file, one a line, in its order.

    Raises:
        InputError: the file cannot be read, or names no user of the log.
    """
    everybody = np.arange(len(interactions.user_ids))
    chosen = everybody if file is None else numbers_of(file, interactions.user_ids)
    starts, lengths = interactions.offsets[chosen], np.diff(interactions.offsets)[chosen]
    offsets = np.concatenate(([0], lengths.cumsum()))
    index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return People(interactions.user_ids.gather(chosen), chosen, interactions.items[index], offsets)


def numbers_of(file: Path, user_ids: pl.Series) -> np.ndarray:
    """Return the numbers of the users whose ids are in a file, each once; others are passed over, and counted.

    Spaces around an id are only its own where a user of that very id is in the log.
    """
    try:
        lines = file.read_text("utf-8-sig").split("\n")  # with or without a byte-order mark
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give a UTF-8 text file with a user id a line") from error
    numbers = {name: number for number, name in enumerate(user_ids)}
    named = [line if line in numbers else line.strip() for line in lines if line.strip()]
    require(bool(named), f"{file}: empty; give a user id a line")
    strangers = [name for name in named if name not in numbers]
    require(
        len(strangers) < len(named), f"{file}: none of its lines is a user of the prepared log, such as {user_ids[0]!r}"
    )
    report_passed_over(file, "users who are not in the prepared log", strangers)
    return np.array([numbers[name] for name in dict.fromkeys(named) if name in numbers])


def others(file: Path, columns: Columns, item_ids: pl.Series) -> People:
    """Return everybody in a log of any format with those of their items that a model knows.

    Other items are passed over, and so is who has no item that the model knows; both are counted.

    Raises:
        InputError: the file cannot be read, or nobody has an item that the model knows.
    """
    log = read_log(file, columns)
    known = pl.DataFrame({"item": item_ids, "number": np.arange(1, len(item_ids) + 1, dtype=np.int32)})
    numbered = log.join(known, on="item", how="left", maintain_order="left").sort(
        "user", "timestamp", maintain_order=True
    )
    of_user = numbered.group_by("user", maintain_order=True).agg(pl.col("number").drop_nulls())
    empty = of_user["number"].list.len() == 0
    require(not empty.all(), f"{file}: none of its items is known to the model, such as {item_ids[0]!r}")
    unknown = numbered.filter(pl.col("number").is_null())["item"].unique(maintain_order=True)
    report_passed_over(file, "items that the model does not know", unknown)
    report_passed_over(file, "users without an item that the model knows", of_user["user"].filter(empty))
    people = of_user.filter(~empty)
    offsets = np.concatenate(([0], people["number"].list.len().to_numpy().cumsum(dtype=np.int64)))
    return People(people["user"], np.zeros(len(people), np.int64), people["number"].explode().to_numpy(), offsets)


def report_passed_over(file: Path, what: str, ids: Sequence[str] | pl.Series) -> None:
    """Print how many ids of a file are passed over, and the first of them, if there are any."""
    if len(ids):
        print(f"{file}: passed over {what}: {len(ids):,}, the first {ids[0]!r:.80}")
