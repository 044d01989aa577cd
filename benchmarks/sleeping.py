"""`run.py` with jobs that sleep instead of training: sweeps, searches, launchers, folders and reports are the same.

A job sleeps ``optimizer.lr`` seconds, and its score is that number.
"""

import json
import os
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from adamct.runs.config import resolved
from adamct.runs.folder import RESULTS, RunFolder, finished_before, write_whole
from adamct.runs.job import run_command, run_job

SCRIPT = Path(__file__).resolve()
CONF = SCRIPT.parents[1] / "conf"


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(cfg: DictConfig) -> float | str | None:
    """Run one job, and return its score."""
    return run_job(cfg, experiment, SCRIPT)


def experiment(cfg: DictConfig, folder: RunFolder) -> float:
    """Sleep, unless the folder's run has finished before. Add the process to ``starts`` in the folder."""
    config = resolved(cfg)
    with folder:
        if (results := finished_before(folder.path, config)) is not None:
            return results["metrics"][cfg.monitor]
        with (folder.path / "starts").open("a", encoding="utf-8") as starts:
            starts.write(f"{os.getpid()}\n")
        time.sleep(cfg.optimizer.lr)
        results = {"metrics": {cfg.monitor: cfg.optimizer.lr}, "config": config}
        write_whole(folder.path / RESULTS, json.dumps(results).encode())
        return cfg.optimizer.lr


if __name__ == "__main__":
    run_command(main, CONF)
