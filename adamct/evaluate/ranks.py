"""The rank of each test item in its user's list; see `adamct.evaluate` for the rules."""

from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Int, Int32

from adamct.dataset import Dataset
from adamct.evaluation.metrics import LIST_LENGTH


class TestItems(NamedTuple):
    """The test items of M users, ascending by user, and the items that they are ranked against."""

    user: Int[np.ndarray, " M"]
    target: Int[np.ndarray, " M"]
    latest: Int[np.ndarray, " M"]
    """The latest item before the test item."""
    negatives: Int32[np.ndarray, "M C"]
    seen: Int[np.ndarray, " P"]
    """The keys of the seen items, ascending. The key of an item of the m-th user is ``m * width + item``."""
    width: int
    """The number of items with the padding item."""

    @property
    def num_seen(self) -> Int[np.ndarray, " M"]:
        """The number of seen items of each user, without the test item."""
        return np.bincount(self.seen // self.width, minlength=len(self.user))


def test_items(data: Dataset) -> TestItems:
    """Return the test items of a dataset."""
    width = data.spec.num_items + 1
    columns: list[tuple[np.ndarray, ...]] = []
    for histories, candidates in data.test_dataloader():
        latest = histories.item_seq.gather(1, histories.seq_len[:, None] - 1)[:, 0]
        owner = histories.user[candidates.seen.row]
        tensors = (histories.user, histories.target, latest, candidates.negatives.int())
        columns.append((*(tensor.numpy() for tensor in tensors), (owner * width + candidates.seen.item).numpy()))
    user, target, latest, negatives, seen = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = user.argsort()
    user = user[order]
    owner, item = np.divmod(np.sort(seen), width)
    seen = np.searchsorted(user, owner) * width + item
    return TestItems(user, target[order], latest[order], negatives[order], seen, width)


class ListRanks(NamedTuple):
    """The ranks of M test items in the lists of their users, and the facts that tell which of them are known."""

    length: Int[np.ndarray, " M"]
    """The number of listed items; 0 for a user without a list."""
    seen: Int[np.ndarray, " M"]
    """The number of listed items that the user has had."""
    seen_above: Bool[np.ndarray, " M"]
    """Whether a seen item, except the latest, is listed above an unseen one."""
    sampled: Int[np.ndarray, " M"]
    """The rank among the sampled candidates; 0 if one of them is not listed."""
    full: Int[np.ndarray, " M"]
    """The rank among the listed items; 0 if the test item is not listed."""
    full_unseen: Int[np.ndarray, " M"]
    """The same without the seen items."""
    top: Int[np.ndarray, "M k"]
    """The first items of the lists; 0 for an empty place. Equal scores are in the order of item numbers."""
    top_unseen: Int[np.ndarray, "M k"]
    """The same without the seen items."""


class Dropped(NamedTuple):
    """The rows of a file that are in no list."""

    repeated: int
    """Rows that repeat an item of the same user."""
    infinite: int
    """Rows with a score of minus infinity, without repetitions."""
    untested: int
    """Rows of users without a test item."""


def rank_lists(rows: pl.DataFrame, items: TestItems, ranks: ListRanks) -> Dropped:
    """Rank the test items of the users of some rows, and store the ranks in place.

    Args:
        rows: all rows of some users, with known users and items.
        items: the test items of all users.
        ranks: the ranks of all users.
    """
    user, item, value = (rows[name].to_numpy() for name in ("user", "item", "value"))
    place = np.searchsorted(items.user, user)
    tested = items.user[np.minimum(place, len(items.user) - 1)] == user
    key, value = place[tested] * items.width + item[tested], value[tested]
    order = np.lexsort((-value, key))
    key, value = key[order], value[order]
    first = np.diff(key, prepend=-1) > 0
    key, value = key[first], value[first]
    finite = value > -np.inf
    dropped = Dropped(int((~first).sum()), int((~finite).sum()), int((~tested).sum()))
    key, value = key[finite], value[finite]
    if len(key):
        rank_distinct(key, value, items, ranks)
    return dropped


def rank_distinct(key: Int[np.ndarray, " R"], value: np.ndarray, items: TestItems, ranks: ListRanks) -> None:
    """Rank test items by listed items with ascending distinct keys; see `rank_lists`."""
    row, item = np.divmod(key, items.width)
    begin = int(row[0])
    part = slice(begin, int(row[-1]) + 1)
    row, target, size = row - begin, items.target[part], int(row[-1]) - begin + 1
    seen = contains(items.seen, key)
    target_value = np.full(size, np.nan)
    is_target = item == target[row]
    target_value[row[is_target]] = value[is_target]
    not_lower = value >= target_value[row]  # never, if the target is not listed
    ranks.length[part] = np.bincount(row, minlength=size)
    ranks.seen[part] = np.bincount(row[seen], minlength=size)
    ranks.full[part] = np.bincount(row[not_lower], minlength=size)
    ranks.full_unseen[part] = np.bincount(row[not_lower & ~seen], minlength=size)
    counted = seen & (item != items.latest[part][row])
    best_seen, worst_unseen = np.full(size, -np.inf), np.full(size, np.inf)
    np.maximum.at(best_seen, row[counted], value[counted])
    np.minimum.at(worst_unseen, row[~seen], value[~seen])
    ranks.seen_above[part] = best_seen > worst_unseen
    ranks.sampled[part] = sampled_ranks(key, value, target_value, items.negatives[part], begin, items.width)
    order = np.lexsort((-value, row))
    row, item, seen = row[order], item[order], seen[order]
    ranks.top[part] = first_items(row, item, size)
    ranks.top_unseen[part] = first_items(row[~seen], item[~seen], size)


def contains(keys: Int[np.ndarray, " P"], wanted: Int[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Return which wanted keys are among ascending keys."""
    if not len(keys):
        return np.zeros(wanted.shape, bool)
    return keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted


def sampled_ranks(
    key: Int[np.ndarray, " R"],
    value: np.ndarray,
    target_value: np.ndarray,
    negatives: Int32[np.ndarray, "M C"],
    begin: int,
    width: int,
) -> Int[np.ndarray, " M"]:
    """Rank each target among its negatives; 0 if one of them is not listed."""
    result = np.zeros(len(negatives), np.int64)
    lengths = np.bincount(key // width - begin, minlength=len(negatives))
    enough = np.flatnonzero((lengths > negatives.shape[1]) & ~np.isnan(target_value))
    wanted = (enough[:, None] + begin) * width + negatives[enough]
    listed = contains(key, wanted).all(1)
    enough, wanted = enough[listed], wanted[listed]
    negative_value = value[np.searchsorted(key, wanted)]
    result[enough] = 1 + (negative_value >= target_value[enough, None]).sum(1)
    return result


def first_items(row: Int[np.ndarray, " R"], item: Int[np.ndarray, " R"], size: int) -> Int[np.ndarray, "M k"]:
    """Return the first items of lists that are sorted by row and place; 0 for an empty place."""
    lengths = np.bincount(row, minlength=size)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    shown = place < LIST_LENGTH
    top = np.zeros((size, LIST_LENGTH), np.int64)
    top[row[shown], place[shown]] = item[shown]
    return top


def no_ranks(users: int) -> ListRanks:
    """Return the ranks of users without lists."""
    counts = (np.zeros(users, np.int64) for _ in range(5))
    length, seen, sampled, full, full_unseen = counts
    tops = (np.zeros((users, LIST_LENGTH), np.int64) for _ in range(2))
    return ListRanks(length, seen, np.zeros(users, bool), sampled, full, full_unseen, *tops)
