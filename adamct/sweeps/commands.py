"""The commands that run one sweep together, in terminals, on GPUs or on machines of their own.

Each command has a folder in the sweep's folder, which it claims as long as it lives. What must not happen in two
commands at once, such as the choice of a trial, happens in `turn`.
"""

import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any, cast

from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from adamct.errors import require
from adamct.identity import EXECUTION, as_json, differences, named
from adamct.keys import flat
from adamct.runs.claim import Claim
from adamct.runs.folder import read_json, write_whole
from adamct.runs.job import COMMANDS, FAILED, stop_file
from adamct.sweeps.signals import let_ctrl_c_kill

POLL_SECONDS = 1.0
"""The time between two looks at what other commands are running."""
MAY_CHANGE = ("hydra", "label", *EXECUTION)
"""Keys that may change when a sweep is joined or a study is continued."""
IDENTIFIES_SWEEPER = ("_target_", "params", "cases", "storage", "study_name")
"""Keys of a sweeper that may not change when a sweep is joined."""


def turn(sweep: Path) -> FileLock:
    """Return the lock that a command holds while it must be the only one of a sweep to act."""
    return FileLock(sweep / ".lock")


def enter(config: DictConfig) -> Claim:
    """Start a sweep, or join the commands that run it. Set the command's name in Hydra's config.

    Call this in a `turn`.

    Raises:
        InputError: the commands that run in the folder have another config.
    """
    sweep, hydra = Path(config.hydra.sweep.dir), config.hydra
    others, record = living(sweep), sweep / COMMANDS / "sweep.json"
    now = as_json(describe(config))
    if others:
        difference = next(differences(read_json(record) or {}, now), None)
        key, before, given = difference or ("", "", "")
        require(
            difference is None,
            f"{sweep}: another sweep is running there, with {key}={before}, but this one has {key}={given}; give the "
            "same overrides to join it, or hydra.sweep.dir=OTHER",
        )
        print(f"joining the sweep of {', '.join(sorted(others))}", file=sys.stderr)
    else:
        write_whole(record, json.dumps(now, indent=2).encode())
        (sweep / FAILED).unlink(missing_ok=True)
    name = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns() // 1000 % 10**9}"
    hydra.callbacks.sweep.command = name
    hydra.overrides.hydra.append(f"hydra.callbacks.sweep.command='{name}'")  # the jobs are composed with these
    claim = Claim(sweep / COMMANDS / name)
    claim.take()
    return claim


def leave(claim: Claim) -> None:
    """End a command's part in its sweep. Call this in a `turn`."""
    claim.release()
    shutil.rmtree(claim.folder, ignore_errors=True)


def living(sweep: Path) -> set[str]:
    """Return the names of the commands that run a sweep, and remove the folders of those that were killed.

    Call this in a `turn`.
    """
    claims = [Claim(folder) for folder in (sweep / COMMANDS).glob("*/")]
    held = {claim.folder.name: claim.is_held() for claim in claims}
    for claim in claims:
        if not held[claim.folder.name]:
            leave(claim)
    return {name for name, is_held in held.items() if is_held}


def describe(config: DictConfig) -> dict[str, Any]:
    """Return the config that the jobs of a sweep share and the values that it varies, without resolving either."""
    keys = cast(dict[str, Any], OmegaConf.to_container(config))
    shared = {key: value for key, value in flat(keys).items() if not named(key, MAY_CHANGE)}
    sweeper = {f"hydra.sweeper.{key}": keys["hydra"]["sweeper"].get(key) for key in IDENTIFIES_SWEEPER}
    overrides = OverridesParser.create().parse_overrides(keys["hydra"]["overrides"]["task"])
    varied = {o.get_key_element(): str(o.input_line).partition("=")[2] for o in overrides if o.is_sweep_override()}
    return shared | sweeper | varied


def exit_if_stopping(config: DictConfig) -> None:
    """Exit if a command was stopped. Call this after its running jobs have ended."""
    if stop_file(config.hydra).exists():
        let_ctrl_c_kill()
        sys.exit(f"stopped: {config.hydra.sweep.dir}; the same command continues it")
