"""The dataset of any log of interactions, which is read from files."""

from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

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
"""The version of the preparation. Raise it if the same file is prepared differently: older caches are then not read."""


class Counts(NamedTuple):
    """The size of a dataset after its preparation."""

    interactions: PositiveInt
    users: PositiveInt
    items: PositiveInt


class LogDataModule(SequenceDataModule):
    """A log read from files, filtered to its k-core, with each user's items in time order.

    Args:
        path: a file, a folder or a pattern, as `datamodules.sources.read_log` reads it; None for the downloaded file.
        columns: the names of its columns, where they are not the usual names.
        min_rating: the lowest rating of an interaction that is kept; None reads no ratings.
        repeats: which of a user's interactions with the same item are kept; see
            `datamodules.preprocessing.without_repeats`.
        min_user: the fewest interactions of a user in the k-core.
        min_item: the fewest interactions of an item in the k-core.
        ties: the order of a user's interactions of the same time: ``file`` keeps the order of the file, ``shuffle``
            draws a random order from the seed.
        expect: the size that the prepared dataset must have; None accepts any.
        cache_dir: the folder of the prepared datasets.
        split: the splitter of `SequenceDataModule`, which also describes the arguments from here to the last.
        download: the file to download if there is no path; None for a log that must have a path.
        name: the dataset's name in reports; None for the name of its choice in ``conf/dataset``.
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
        name: Text | None = None,
    ):
        del name  # a report reads it in the config
        super().__init__(
            split,
            max_len=max_len,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            negatives=negatives,
            seed=seed,
            shuffle_histories=shuffle_histories,
        )
        self.download = download if path is None else None
        file = path if download is None or path is not None else download.path
        if file is None:
            raise InputError("dataset.path=null: must be the log to train on; give dataset.path=FILE")
        self.path = Path(file)
        self.columns = columns
        self.min_rating = min_rating
        self.repeats: Repeats = repeats
        self.min_user = min_user
        self.min_item = min_item
        self.ties = ties
        self.expect = expect
        self.cache_dir = Path(cache_dir)

    def load(self) -> Prepared:
        """Prepare the sequences, or read them from the cache.

        Raises:
            InputError: the file is missing, unreadable or not the expected one.
        """
        source_sha256 = self.source_sha256  # downloads the file
        if self.sequence_file is not None:
            problem = f"{self.sequence_file}: a .txt file is a sequence file, without times"
            require(not self.splitter.needs_times, f"{problem}; give dataset/split=leave_one_out, which needs none")
            require(self.ties == "file", f"{problem}; give dataset.ties=file, which needs none")
        prepared = load_or_build(
            self.cache_dir,
            {
                "sha256": source_sha256,
                "names": [file.name for file in files_of(self.path)],  # a file's name decides its format
                "columns": list(self.columns),
                "min_rating": self.min_rating,
                "repeats": self.repeats,
                "min_user": self.min_user,
                "min_item": self.min_item,
                "preparation": PREPARATION,
            },
            self.prepare,
        )
        counts = Counts(*statistics(prepared.interactions)[:3])
        if self.expect is not None and counts != self.expect:
            raise InputError(
                f"{self.path}: has {describe(counts)} after preparation, but {describe(self.expect)} were expected; "
                "is it the right file? dataset.expect=null accepts it"
            )
        return prepared

    @cached_property
    def interactions(self) -> Interactions:
        """The prepared sequences. ``ties`` decides the order of a user's interactions of the same time."""
        interactions = self.prepared.interactions
        return interactions if self.ties == "file" else shuffle_ties(interactions, self.seed)

    def prepare(self) -> Interactions:
        """Read the log and build its sequences.

        Raises:
            InputError: a file is missing, unreadable or changes while it is read.
        """
        log = without_repeats(read_log(self.path, self.columns, self.min_rating), self.repeats)
        unchanged = sha256(self.path) == self.source_sha256
        require(unchanged, f"{self.path}: changed while it was read; run again when nothing writes to it any more")
        return build_sequences(log, self.min_user, self.min_item)

    @property
    def source_sha256(self) -> str:
        """The SHA-256 of the log, which is downloaded first if there is no path."""
        return self._source_sha256

    @cached_property
    def _source_sha256(self) -> str:
        return sha256(self.path if self.download is None else self.download.fetch())

    @property
    def identity(self) -> dict[str, object]:
        """The data, the order of its ties, and the seed of that order; the seed is None if ties are not shuffled."""
        return {**super().identity, "ties": self.ties, "ties_seed": self.seed if self.ties == "shuffle" else None}

    @cached_property
    def sequence_file(self) -> Path | None:
        """The first file with an order of items but no times; None if all files have times."""
        files = (file for file in files_of(self.path) if is_sequence_file(file, self.columns.separator))
        return next(files, None)

    @property
    def has_times(self) -> bool:
        """Whether the log has the time of each interaction: none of its files is a sequence file."""
        return self.sequence_file is None


def describe(counts: Counts) -> str:
    """Return counts in words."""
    return f"{counts.interactions:,} interactions of {counts.users:,} users with {counts.items:,} items"
