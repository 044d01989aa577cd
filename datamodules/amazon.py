"""A dataset read from a file: the paper's three Amazon categories, or a user's own log."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from adamct.errors import InputError, require
from adamct.values import NonNegativeInt, PositiveInt, Seed, Text
from datamodules.base import SequenceDataModule
from datamodules.cache import load_or_build
from datamodules.columns import Columns
from datamodules.download import Download
from datamodules.fingerprint import Prepared
from datamodules.formats import is_sequence_file
from datamodules.negatives import UniformNegatives
from datamodules.preprocessing import Interactions, Repeats, build_sequences, statistics, without_repeats
from datamodules.sources import files_of, read_log, sha256
from datamodules.splits import Splitter
from datamodules.ties import shuffle_ties

PREPARATION = 3
"""Raised whenever the same file would be prepared differently, so that nobody reads an older cache."""


class Counts(NamedTuple):
    """What a dataset must hold after preparation."""

    interactions: PositiveInt
    users: PositiveInt
    items: PositiveInt


class AmazonDataModule(SequenceDataModule):
    """The preparation of the paper: k-core and time order.

    Args:
        path: what `datamodules.sources.read_log` reads; None is the downloaded one.
        columns: its columns' names, where they are not the usual ones.
        min_rating: interactions with a lower rating are left out; None does not look at ratings.
        repeats: what becomes of a user's further interactions with an item; see
            `datamodules.preprocessing.without_repeats`.
        min_user: users with fewer interactions are dropped, ...
        min_item: ... and items with fewer, until neither is left.
        ties: the order of a user's interactions of the same time: ``file`` keeps the file's order, ``shuffle`` draws
            one that the seed determines.
        expect: counts the result must have; None accepts any.
        cache_dir: where prepared arrays are kept.
        split: see `SequenceDataModule`, as for all up to the last.
        download: where the file can be had; it is fetched where no path is given.
    """

    def __init__(
        self,
        path: Text | None,
        columns: Columns,
        min_rating: int | float | None,
        repeats: Repeats,
        min_user: NonNegativeInt,
        min_item: NonNegativeInt,
        ties: Literal["file", "shuffle"],
        expect: Counts | None,
        cache_dir: Text,
        split: Splitter,
        max_len: PositiveInt,
        batch_size: PositiveInt,
        eval_batch_size: PositiveInt,
        negatives: UniformNegatives,
        seed: Seed,
        shuffle_histories: bool,
        download: Download | None = None,
    ):
        super().__init__(split, max_len, batch_size, eval_batch_size, negatives, seed, shuffle_histories)
        self.download = download if path is None else None
        where = path if download is None or path is not None else download.path
        if where is None:
            raise InputError("dataset.path is not set: give the log to train on, dataset.path=FILE")
        self.path = Path(where)
        self.columns = columns
        self.min_rating = min_rating
        self.repeats: Repeats = repeats
        self.min_user = min_user
        self.min_item = min_item
        self.ties = ties
        self.expect = expect
        self.cache_dir = Path(cache_dir)

    def load(self) -> Prepared:
        """Prepare the sequences, or take them from the cache where it has them.

        Raises:
            InputError: a missing, unreadable or unexpected file.
        """
        source_sha256 = self.source_sha256  # downloads the file
        if self.sequence_file is not None:
            without = f"{self.sequence_file}: a .txt file is a sequence file, without times;"
            require(not self.splitter.needs_times, f"{without} dataset/split=leave_one_out needs none")
            require(self.ties == "file", f"{without} dataset.ties=file needs none")
        prepared = load_or_build(
            self.cache_dir,
            {
                "sha256": source_sha256,
                "names": [file.name for file in files_of(self.path)],  # the formats are read off the names
                "columns": list(self.columns),
                "min_rating": self.min_rating,
                "repeats": self.repeats,
                "min_user": self.min_user,
                "min_item": self.min_item,
                "preparation": PREPARATION,
            },
            self.prepare,
        )
        found = Counts(*statistics(prepared.interactions)[:3])
        if self.expect is not None and found != self.expect:
            raise InputError(
                f"{self.path}: has {describe(found)} after preparation, but {describe(self.expect)} were expected; "
                "is it the right file? dataset.expect=null accepts it"
            )
        return prepared

    @cached_property
    def interactions(self) -> Interactions:
        """The prepared sequences, those of equal times in the order that ``ties`` names."""
        interactions = self.prepared.interactions
        return interactions if self.ties == "file" else shuffle_ties(interactions, self.seed)

    def prepare(self) -> Interactions:
        """Read the file and line up its sequences.

        Raises:
            InputError: a missing or unreadable file, or one that changes while it is read.
        """
        log = without_repeats(read_log(self.path, self.columns, self.min_rating), self.repeats)
        same = sha256(self.path) == self.source_sha256
        require(same, f"{self.path}: changed while it was read; run again when nothing writes to it any more")
        return build_sequences(log, self.min_user, self.min_item)

    @cached_property
    def source_sha256(self) -> str:
        """The SHA-256 of the file, which is downloaded first where no path is given."""
        return sha256(self.path if self.download is None else self.download.fetch())

    @property
    def identity(self) -> dict[str, object]:
        """The data, the order of its ties, and the seed that they are shuffled with, None if they are not."""
        return {**super().identity, "ties": self.ties, "ties_seed": self.seed if self.ties == "shuffle" else None}

    @cached_property
    def sequence_file(self) -> Path | None:
        """The first file that tells the order of items and not their times; None if all files tell times."""
        return next(filter(is_sequence_file, files_of(self.path)), None)

    @property
    def has_times(self) -> bool:
        """Whether no file is a sequence file."""
        return self.sequence_file is None


def amazon_category(
    category: Text, edition: int, mirrors: Mapping[int, Sequence[Text]], folder: Text, **log: Any
) -> AmazonDataModule:
    """Any category of Amazon's reviews, downloaded into the edition's folder unless a path is given.

    Args:
        category: as it stands in the addresses, such as ``Video_Games``.
        edition: the year.
        mirrors: the addresses of each edition, with ``{category}`` in them.
        folder: the edition's folder goes there.
        log: what else an `AmazonDataModule` takes.

    Raises:
        InputError: there is no such edition.
    """
    require(edition in mirrors, f"dataset.edition={edition}: must be one of {', '.join(map(str, mirrors))}")
    urls = [url.replace("{category}", category) for url in mirrors[edition]]
    return AmazonDataModule(download=Download(urls, str(Path(folder) / f"amazon_{edition}"), sha256=None), **log)


def describe(counts: Counts) -> str:
    """Counts in words."""
    return f"{counts.interactions:,} interactions of {counts.users:,} users with {counts.items:,} items"
