"""The names of the folders of sweeps and of their jobs: readable, and different where what they stand for differs."""

import hashlib
import re
from collections.abc import Iterable, Sequence

from hydra.core.override_parser.types import Override
from omegaconf import ListConfig, OmegaConf

from adamct.identity import EXECUTION, named

OF_KIND = ("sweep", "trainer")
"""Config groups that a sweep's name leaves out: its kind tells the first, and the second chooses hardware."""
LONGEST = 120
"""Bytes of a folder's name; file systems take 255."""
HASH = 12
"""Hexadecimal digits of a hash in a name."""
IN_NAMES = str.maketrans({"/": ".", " ": "_"})
NOT_IN_NAMES = re.compile(r"[^\w.,=+@~%:^()\[\]-]")
"""What paths, shells or interpolations would take for something else."""
HASHED = re.compile(rf"-[0-9a-f]{{{HASH}}}$")


def sweep_name(kind: Iterable[str | None], fixed: Iterable[Override], varied: Iterable[str]) -> str:
    """Name a sweep's folder by its kind, the keys that it varies and the overrides that it keeps fixed.

    The order of the command line does not matter. Overrides on which no number depends are left out.
    """
    kinds = [name for name in kind if name not in (None, "basic")]
    return folder_name(",".join([*kinds, *sorted(varied), *sorted(map(written, filter(identifies, fixed)))]))


def identifies(override: Override) -> bool:
    """Whether an override makes another experiment."""
    key = override.key_or_group
    return key not in OF_KIND and not named(key, EXECUTION)


def written(override: Override) -> str:
    """Return an override in Hydra's own form, whatever its spaces and the way its numbers are written."""
    key = override.get_key_element()
    return key if override.is_delete() and override.value() is None else f"{key}={override.get_value_element_as_str()}"


def job_name(overrides: ListConfig, fixed: Sequence[str]) -> str:
    """Name a job's folder by its overrides.

    Args:
        overrides: the job's.
        fixed: the keys that its sweep keeps fixed, which the name leaves out.
    """
    texts: list[str] = OmegaConf.to_container(overrides, resolve=False)  # pyright: ignore[reportAssignmentType]
    return folder_name(",".join(sorted(text for text in texts if text.partition("=")[0] not in fixed)) or "run")


def folder_name(text: str) -> str:
    """Return a text as the name of a folder, with a hash of the text where the name alone does not tell all of it."""
    name = readable(text)
    if name and name == text and not HASHED.search(name):
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HASH]
    return f"{readable(text, LONGEST - HASH - 1)}-{digest}"


def readable(text: str, longest: int = LONGEST) -> str:
    """Return what a folder's name can hold of a text, in so many bytes; a dot in front would hide the folder."""
    name = NOT_IN_NAMES.sub("", text.translate(IN_NAMES)).lstrip(".")
    return name.encode()[:longest].decode(errors="ignore")
