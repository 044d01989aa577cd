"""The people to recommend to: users of the log, or other people whose histories are in a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from adamct.batch import People
from adamct.errors import InputError, require
from datamodules.columns import Columns
from datamodules.formats import is_sequence_file
from datamodules.preprocessing import Interactions
from datamodules.sources import files_of, read_log


def people_of(
    interactions: Interactions,
    has_times: bool,
    users: str | None,
    histories: str | None,
    columns: Columns,
    only_users: bool,
) -> People:
    """Return the people to recommend to.

    Args:
        interactions: the log.
        has_times: whether the log has the time of each interaction.
        users: a file of user ids, one a line; None for all users of the log.
        histories: a log of other people; None for users of the log.
        columns: the columns of that log.
        only_users: whether the model can recommend to users of the log only.

    Raises:
        InputError: both files are given, the model cannot use the histories, or a file cannot be used.
    """
    require(None in (users, histories), "predict.users and predict.histories: give one of them")
    if histories is None:
        people = users_of_log(interactions, None if users is None else Path(users))
        return people if has_times else people._replace(times=None)
    require(not only_users, "predict.histories: the model has an embedding for each user, so it knows only its users")
    return people_of_file(Path(histories), columns, interactions.item_ids)


def users_of_log(interactions: Interactions, file: Path | None) -> People:
    """Return the users of the log with all of their items.

    Args:
        interactions: the log.
        file: a file of user ids, one a line, in the order of the result; None for all users.

    Raises:
        InputError: the file cannot be read, or has no user of the log.
    """
    all_users = np.arange(len(interactions.user_ids))
    users = all_users if file is None else read_users(file, interactions.user_ids)
    starts, lengths = interactions.offsets[users], np.diff(interactions.offsets)[users]
    offsets = np.concatenate(([0], lengths.cumsum()))
    index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return People(
        interactions.user_ids.gather(users), users, interactions.items[index], offsets, interactions.times[index]
    )


def read_users(file: Path, user_ids: pl.Series) -> np.ndarray:
    """Return the numbers of the users whose ids are in a file, each once. Skip other ids, and print their number.

    Spaces around an id are part of it only if the log has a user with that id.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")  # with or without a byte-order mark
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give a UTF-8 text file with a user id a line") from error
    numbers = {name: number for number, name in enumerate(user_ids)}
    ids = [line if line in numbers else line.strip() for line in lines if line.strip()]
    require(bool(ids), f"{file}: empty; give a user id a line")
    unknown = [name for name in ids if name not in numbers]
    require(
        len(unknown) < len(ids), f"{file}: none of its lines is a user of the prepared log, such as {user_ids[0]!r}"
    )
    report_skipped(file, "users who are not in the prepared log", unknown)
    return np.array([numbers[name] for name in dict.fromkeys(ids) if name in numbers])


def people_of_file(file: Path, columns: Columns, item_ids: pl.Series) -> People:
    """Return the people in a log of any format, with those of their items that a model knows.

    Skip other items, and people without an item that the model knows. Print the numbers of both.

    Raises:
        InputError: the file cannot be read, or the model knows none of its items.
    """
    log = read_log(file, columns)
    numbers = pl.DataFrame({"item": item_ids, "number": np.arange(1, len(item_ids) + 1, dtype=np.int32)})
    numbered = log.join(numbers, on="item", how="left", maintain_order="left").sort(
        "user", "timestamp", maintain_order=True
    )
    is_known = pl.col("number").is_not_null()
    histories = numbered.group_by("user", maintain_order=True).agg(pl.col("number", "timestamp").filter(is_known))
    empty = histories["number"].list.len() == 0
    require(not empty.all(), f"{file}: none of its items is known to the model, such as {item_ids[0]!r}")
    unknown = numbered.filter(pl.col("number").is_null())["item"].unique(maintain_order=True)
    report_skipped(file, "items that the model does not know", unknown)
    report_skipped(file, "users without an item that the model knows", histories["user"].filter(empty))
    people = histories.filter(~empty)
    offsets = np.concatenate(([0], people["number"].list.len().to_numpy().cumsum(dtype=np.int64)))
    items, times = (people[column].explode().to_numpy() for column in ("number", "timestamp"))
    if any(is_sequence_file(part, columns.separator) for part in files_of(file)):
        times = None
    return People(people["user"], np.zeros(len(people), np.int64), items, offsets, times)


def report_skipped(file: Path, kind: str, ids: Sequence[str] | pl.Series) -> None:
    """Print the number of skipped ids of a file, and the first of them, if there are any."""
    if len(ids):
        print(f"{file}: skipped {kind}: {len(ids):,}, the first {ids[0]!r:.80}")
