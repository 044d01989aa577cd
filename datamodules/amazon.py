"""The categories of Amazon's reviews, which are downloaded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adamct.errors import require
from adamct.values import Text
from datamodules.download import Download
from datamodules.log import LogDataModule


def amazon_category(
    category: Text, edition: int, mirrors: Mapping[int, Sequence[Text]], folder: Text, **log: Any
) -> LogDataModule:
    """Build the data module of a category, which is downloaded into the edition's folder unless a path is set.

    Args:
        category: the category as its address spells it, such as ``Video_Games``.
        edition: the year of the edition.
        mirrors: the addresses of each edition, with ``{category}`` in them.
        folder: the folder that contains the edition's folder.
        log: the other arguments of `LogDataModule`.

    Raises:
        InputError: there is no such edition.
    """
    require(edition in mirrors, f"dataset.edition={edition}: must be one of {', '.join(map(str, mirrors))}")
    urls = [url.replace("{category}", category) for url in mirrors[edition]]
    return LogDataModule(download=Download(urls, str(Path(folder) / f"amazon_{edition}"), sha256=None), **log)
