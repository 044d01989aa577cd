"""The folders of sweeps and their jobs: readable names, unique for each experiment."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf

from adamct.errors import require
from adamct.identity import EXECUTION, named
from adamct.keys import override_with

UNNAMED_GROUPS = ("sweep", "trainer")
"""Config groups that a sweep's name leaves out. Its kind names the first, and the second chooses hardware."""
MAX_BYTES = 120
"""The longest name of a folder, in bytes. File systems take 255."""
HASH_DIGITS = 12
"""Hexadecimal digits of a hash in a name."""
REPLACEMENTS = str.maketrans({"/": ".", " ": "_"})
UNSAFE = re.compile(r"[^\w.,=+@~%:^()\[\]-]")
"""Characters that have a meaning in paths, shells or interpolations."""
ENDS_IN_HASH = re.compile(rf"-[0-9a-f]{{{HASH_DIGITS}}}$")


def name_sweep(hydra: DictConfig) -> Path:
    """Set the names of a sweep's folder and of its jobs' folders in Hydra's config.

    The sweep's folder is named only if its name is ``auto``. The names of jobs leave out the keys that the sweep keeps
    fixed.

    Returns:
        The sweep's folder.

    Raises:
        InputError: the sweep's cases are not lists of overrides.
    """
    texts = cast(list[str], OmegaConf.to_container(hydra.overrides.task, resolve=False))
    parsed = OverridesParser.create().parse_overrides(texts)
    overrides = {override.get_key_element(): override for override in parsed}  # the last one of a key counts
    case_keys = {text.partition("=")[0] for case in read_cases(hydra.sweeper) for text in case}
    sweeper_keys = {*(hydra.sweeper.get("params") or {}), *case_keys}
    remaining = [override for key, override in overrides.items() if key not in sweeper_keys]
    fixed = [override for override in remaining if not override.is_sweep_override()]
    folder = Path(hydra.sweep.dir)
    if folder.name == "auto":
        kind = hydra.runtime.choices["sweep"] or hydra.runtime.choices["hydra/sweeper"]
        varied = [override.get_key_element() for override in remaining if override.is_sweep_override()]
        folder = folder.with_name(sweep_name(kind, fixed, varied))
        hydra.sweep.dir = str(folder)
        hydra.overrides.hydra.append(override_with("hydra.sweep.dir", str(folder)))  # the jobs are composed with these
    keys = ",".join(f"'{override.get_key_element()}'" for override in fixed)
    hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys=[{keys}]")
    return folder


def read_cases(sweeper: DictConfig) -> list[list[str]]:
    """Return the cases of a sweeper without resolving their interpolations, which refer to a job's config.

    Raises:
        InputError: the cases are not lists of overrides.
    """
    node = sweeper.get("cases", ListConfig([]))
    cases = cast(Any, OmegaConf.to_container(node, resolve=False) if isinstance(node, ListConfig) else [None])
    require(
        all(isinstance(case, list) for case in cases) and all(isinstance(text, str) for case in cases for text in case),
        f"hydra.sweeper.cases={node}: must be lists of overrides; give [['KEY=VALUE', ...], ...]",
    )
    return cases


def sweep_name(kind: str | None, fixed: Iterable[Override], varied: Iterable[str]) -> str:
    """Name a sweep's folder. The order of the command line does not matter.

    Args:
        kind: the choice of ``sweep`` or of ``hydra/sweeper``; the name leaves out ``basic`` and None.
        fixed: the overrides that the sweep keeps fixed. The name leaves out those of the execution.
        varied: the keys that it varies.
    """
    kinds = [] if kind in (None, "basic") else [kind]
    return folder_name(
        ",".join([*kinds, *sorted(varied), *sorted(map(override_text, filter(identifies_sweep, fixed)))])
    )


def identifies_sweep(override: Override) -> bool:
    """Return whether an override tells apart two sweeps, and not only where and how they are executed."""
    key = override.key_or_group
    return key not in UNNAMED_GROUPS and not named(key, EXECUTION)


def override_text(override: Override) -> str:
    """Return an override as Hydra writes it, the same for all spellings of its value."""
    key = override.get_key_element()
    return key if override.is_delete() and override.value() is None else f"{key}={override.get_value_element_as_str()}"


def job_name(overrides: ListConfig, fixed: Sequence[str]) -> str:
    """Name a job's folder by its overrides.

    Args:
        overrides: the job's overrides.
        fixed: the keys that the sweep keeps fixed. The name leaves them out.
    """
    texts: list[str] = OmegaConf.to_container(overrides, resolve=False)  # pyright: ignore[reportAssignmentType]
    return folder_name(",".join(sorted(text for text in texts if text.partition("=")[0] not in fixed)) or "run")


def folder_name(text: str) -> str:
    """Return a folder's name for a text, with a hash of the text if the name could stand for another text too."""
    name = readable(text)
    if name and name == text and not ENDS_IN_HASH.search(name):
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]
    return f"{readable(text, MAX_BYTES - HASH_DIGITS - 1)}-{digest}"


def readable(text: str, max_bytes: int = MAX_BYTES) -> str:
    """Replace or leave out the characters that a folder's name cannot have, and cut the text to a number of bytes.

    A dot in front is left out: it would hide the folder.
    """
    name = UNSAFE.sub("", text.translate(REPLACEMENTS)).lstrip(".")
    return name.encode()[:max_bytes].decode(errors="ignore")
