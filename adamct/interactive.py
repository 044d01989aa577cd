"""Training from Python, such as in a notebook: a run of `run.py` in this process, whose errors are exceptions."""

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from math import isnan
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir, version
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobStatus, run_job
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from adamct.errors import InputError, explain, require
from adamct.runs.callback import require_own_run
from adamct.runs.feasibility import require_no_sweep
from adamct.runs.folder import ERROR, RESULTS, RunFolder, read_json
from adamct.runs.job import Experiment, run_in_processes
from adamct.runs.script import CONF, SCRIPT


def train(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Run an experiment as ``python run.py`` does with these overrides.

    Args:
        overrides: such as ``["dataset=synthetic", "seed=1"]``. With ``hydra.run.dir=FOLDER`` the same call continues an
            interrupted run, and returns the results of a finished one.

    Returns:
        The content of the run's ``results.json``, and its folder as ``folder``.

    Raises:
        InputError: the overrides or the data have a mistake, or the run failed in processes of its own.
        KeyboardInterrupt: Ctrl-C stopped the run, which has saved its state.
    """
    require(not isinstance(overrides, str), f'{overrides}: must be a list; give ["{overrides}"]')
    try:
        with unchanged_process(), initialize_config_dir(str(CONF), job_name=SCRIPT.stem, version_base="1.3"):
            folder = run(list(overrides))
    except SystemExit as error:  # Lightning's, after Ctrl-C
        raise KeyboardInterrupt from error
    except Exception as error:
        line = explain(error)
        if line is None or isinstance(error, InputError):
            raise
        raise InputError(line) from error
    return {**(read_json(folder / RESULTS) or {}), "folder": folder}


def run(overrides: list[str]) -> Path:
    """Run the job of some overrides with the current Hydra, and return its folder."""
    experiment = load_experiment()
    config = compose("config", overrides, return_hydra_config=True)
    require(config.hydra.mode != RunMode.MULTIRUN, "a sweep is no single run: start it with the command adamct run -m")
    require_no_sweep(config.hydra.runtime.choices, config.preview)
    require_own_run(config)
    context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks(config))
    job = run_job(partial(run_experiment, experiment=experiment), config, "hydra.run.dir", None, context)
    if job.status == JobStatus.FAILED:
        raise job._return_value  # the property of this name also prints the overrides
    return job._return_value


def run_experiment(cfg: DictConfig, experiment: Experiment) -> Path:
    """Run an experiment, in processes of its own if it trains in several, and return its folder."""
    folder = RunFolder(Path(str(cfg.output_dir)))
    if cfg.trainer.devices != 1 or cfg.trainer.num_nodes != 1:
        score = run_in_processes(folder.path, SCRIPT, cfg.monitor)
        succeeded = isinstance(score, float) and not isnan(score)
        require(succeeded, f"{folder.path}: the run failed, or another process is running it; its {ERROR} tells why")
        return folder.path
    try:
        experiment(cfg, folder)
    except Exception as error:
        folder.record_failure(error)
        raise
    return folder.path


def load_experiment() -> Experiment:
    """Return the experiment of the script, without running the script's command."""
    spec = spec_from_file_location("adamct_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.experiment


@contextmanager
def unchanged_process() -> Iterator[None]:
    """Restore what a run changes in this process: the caller's Hydra, the log's handlers, and that of Ctrl-C."""
    hydra, version_base = GlobalHydra.instance().hydra, version.VersionBase.instance().version_base
    handlers, level = logging.root.handlers[:], logging.root.level
    on_interrupt = signal.getsignal(signal.SIGINT)
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = hydra
        version.VersionBase.instance().version_base = version_base
        for handler in logging.root.handlers[:]:
            if handler not in handlers:
                handler.close()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        if signal.getsignal(signal.SIGINT) is not on_interrupt:  # Lightning ignores Ctrl-C after the first
            signal.signal(signal.SIGINT, on_interrupt)
