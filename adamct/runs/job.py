"""The frame around an experiment: its command, its failures, and a sweep's jobs that train in several processes.

Imports nothing that takes long.
"""

import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, cast

from hydra._internal import utils as hydra_utils
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from adamct.errors import explain, require
from adamct.keys import override_with
from adamct.runs.claim import Claim
from adamct.runs.config import without_null
from adamct.runs.console import accept_all_characters, mute
from adamct.runs.feasibility import require_no_sweep
from adamct.runs.folder import ERROR, RESULTS, InUse, RunFolder, record_kill
from adamct.runs.processes import PARENT, end_with, how_it_ended, is_first

COMMANDS = ".commands"
"""The folder in a sweep's folder with a folder for each command that runs the sweep; see `adamct.sweeps.commands`."""
FAILED = ".failed"
"""A file in a sweep's folder that lists the folders of the failed jobs of all commands that run the sweep together."""
ELSEWHERE = "running elsewhere"
"""What a job of a sweep returns if another process is running it."""

SINGLE = "hydra.mode=RUN"
"""The override with which a job of a sweep becomes a command of its own."""

Experiment = Callable[[DictConfig, RunFolder], float]
"""Runs the experiment of a config in a folder and returns its score."""


def run_command(main: Callable[[], None], groups: Path) -> None:
    """Run the function of a script's command, and end the process with one line if a user's mistake ends it.

    Args:
        main: the function that Hydra calls.
        groups: the folder of the config groups.
    """
    if parent := os.environ.pop(PARENT, None):
        end_with(int(parent))
    accept_all_characters()
    # Hydra then raises its own errors instead of printing them. HYDRA_FULL_ERROR=1 does so too, but all processes that
    # this one starts would inherit it.
    hydra_utils.is_under_debugger = lambda: True
    sys.argv[1:] = without_null(overrides_first(sys.argv[1:]), groups)
    try:
        main()
    except Exception as error:
        exit_with(error)


def overrides_first(arguments: list[str]) -> list[str]:
    """Return a command's arguments with Hydra's flags at the end, because Hydra takes no flags between overrides."""
    overrides = hydra_utils.get_args_parser().parse_intermixed_args(arguments).overrides
    return [*overrides, *(argument for argument in arguments if argument not in overrides)]


def run_job(cfg: DictConfig, experiment: Experiment, script: Path) -> float | str | None:
    """Run an experiment as a command of its own or as a job of a sweep, which goes on after a failure.

    Args:
        cfg: the job's config.
        experiment: the experiment.
        script: the script of the command.

    Returns:
        The score that a sweep optimises; NaN if the job failed, also in an earlier process of the same sweep;
        None if it was killed; `ELSEWHERE` if another process is running it.
    """
    accept_all_characters()  # also in another process than the command's
    hydra_config = HydraConfig.get()
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    has_neighbours = in_sweep and hydra_config.runtime.choices["hydra/launcher"] != "basic"
    folder = RunFolder(Path(str(cfg.output_dir)))
    if in_sweep and (stop_file(hydra_config).exists() or has_failed(Path(hydra_config.sweep.dir), folder.path)):
        return math.nan
    if not is_first():
        logging.getLogger("adamct").setLevel(logging.WARNING)
    if has_neighbours and "SUBMITIT_EXECUTOR" not in os.environ:  # its jobs write to files of their own
        mute()
    try:
        if not in_sweep and SINGLE not in sys.argv:
            require_no_sweep(hydra_config.runtime.choices, cfg.preview)
        if in_sweep and (cfg.trainer.devices != 1 or cfg.trainer.num_nodes != 1):
            return run_in_processes(folder.path, script, cfg.monitor)
        return experiment(cfg, folder)
    except Exception as error:
        if in_sweep and isinstance(error, InUse):
            return ELSEWHERE
        folder.record_failure(error)
        if not in_sweep:
            exit_with(error)
        print(f"failed: {folder.path}: {explain(error) or repr(error)}", file=sys.stderr)
        return math.nan
    except (KeyboardInterrupt, SystemExit):
        if not has_neighbours:
            raise
        with suppress(FileNotFoundError):  # the command has ended before its job, as it can on Slurm
            stop_file(hydra_config).touch()  # without an exception, so that the neighbours can save their states too
        return math.nan


def run_in_processes(folder: Path, script: Path, monitor: str) -> float | str | None:
    """Run a job of a sweep that trains in several processes as a command of its own.

    Lightning starts the other processes with the command of the first, which in a sweep would start the sweep again.

    Returns:
        The score; NaN if the job failed; None if it was killed; `ELSEWHERE` if another process is running it.
    """
    hydra_config = HydraConfig.get()
    overrides = cast(dict[str, list[str]], OmegaConf.to_container(hydra_config.overrides, resolve=False))
    conf = next(source.path for source in hydra_config.runtime.config_sources if source.provider == "main")
    flags = [f"--config-path={conf}", f"--config-name={hydra_config.job.config_name}"]
    single = [SINGLE, override_with("hydra.run.dir", str(folder))]
    command = [sys.executable, str(script), *flags, *overrides["hydra"], *overrides["task"], *single]
    process = subprocess.Popen(command, env={**os.environ, PARENT: str(os.getpid())})
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # Ctrl-C reached it too
        raise
    if code < 0:
        record_kill(folder, how_it_ended(code))
        return None
    if code != 0 and Claim(folder).is_held():
        return ELSEWHERE
    if code != 0 and (folder / ERROR).exists():
        return math.nan
    require(code == 0, f"{folder}: its processes ended with {code}; the lines above may tell why")
    return json.loads((folder / RESULTS).read_text(encoding="utf-8"))["metrics"][monitor]


def stop_file(hydra: HydraConf | DictConfig) -> Path:
    """Return the file whose existence stops a command: it starts no further job of its sweep."""
    return Path(hydra.sweep.dir) / COMMANDS / hydra.callbacks["sweep"].command / "stopping"


def add_failed_job(sweep: Path, folder: Path) -> None:
    """Add a job's folder to the failed jobs of a sweep."""
    with (sweep / FAILED).open("a", encoding="utf-8") as file:
        file.write(f"{folder}\n")  # one short write, which the writes of other processes do not split


def read_failed_jobs(sweep: Path) -> list[str]:
    """Return the folders of the failed jobs of a sweep, relative to the sweep's folder."""
    path = sweep / FAILED
    folders = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sorted({os.path.relpath(folder, sweep) for folder in folders})


def has_failed(sweep: Path, folder: Path) -> bool:
    """Return whether a job is among the failed jobs of a sweep."""
    return os.path.relpath(folder, sweep) in read_failed_jobs(sweep)


def exit_with(error: Exception) -> NoReturn:
    """End the process with one line for a user's mistake.

    A defect of the code keeps its traceback, and so does every error if HYDRA_FULL_ERROR is set.
    """
    line = explain(error)
    if line is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    sys.exit(f"error: {line}")
