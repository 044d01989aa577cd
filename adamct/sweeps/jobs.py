"""The jobs of a sweep as a user sees them: their list before it begins, and a line for each job that ends."""

import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from adamct.errors import require
from adamct.runs.console import duration
from adamct.runs.folder import ERROR, RESULTS, read_json
from adamct.sweeps.callback import exit_on_error
from adamct.sweeps.preview import number_of_jobs, show_preview

JOBS_LOG = "jobs.log"
"""A file in a sweep's folder with a line for each job that ended or was stopped."""
TIME = "%Y-%m-%d %H:%M:%S"
LINE = re.compile(r"\[(.{19})\] #(\d+) .+: (?!stopped)")
"""The line of a job that ended, and was not stopped, with its time and number."""


class JobsCallback(Callback):
    """A preview of a sweep's jobs, or a line for each job as it ends, on the console and in `JOBS_LOG`."""

    def __init__(self) -> None:
        self.began = ""
        """The time at which the sweep began, as the lines have theirs."""
        self.total: int | None = None
        """The number of the sweep's jobs; None if only its sweeper knows it."""
        self.job_began = 0.0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Show the preview and exit, if it is asked for. Otherwise count the jobs."""
        with exit_on_error():
            if config.preview:
                show_preview(config)
                sys.exit()
            slurm = str(config.hydra.launcher._target_).endswith(".SlurmLauncher")
            require(
                not slurm or all(map(shutil.which, ("sbatch", "srun"))),
                "hydra/launcher=slurm: needs sbatch and srun, which are not here; give the command on a login node of "
                "Slurm, or hydra/launcher=slurm_local",
            )
            self.began, self.total = time.strftime(TIME), number_of_jobs(config)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Start the job's time."""
        self.job_began = time.time()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write the line. This may run in another process than that of the sweep."""
        hydra = config.hydra
        if hydra.mode != RunMode.MULTIRUN:
            return
        folder, log = Path(hydra.runtime.output_dir), Path(hydra.sweep.dir) / JOBS_LOG
        value = job_return.return_value if job_return.status == JobStatus.COMPLETED else None
        how = outcome(folder, value, self.job_began, config.monitor)
        line = f"#{hydra.job.num} {folder.name}: {how}, {duration(time.time() - self.job_began)}"
        with log.open("a", encoding="utf-8") as file:
            file.write(f"[{time.strftime(TIME)}] {line}\n")  # one short write, which other processes do not split
        if total := self.total or len(hydra.sweeper.get("jobs") or ()):
            since = "" if "n_trials" in hydra.sweeper else self.began  # a search goes on with the numbers of its trials
            line += f"; {max(0, total - ended(log, since))} of {total} jobs left"
        print(line, flush=True)


def outcome(folder: Path, value: Any, began: float, monitor: str) -> str:
    """Return how a job ended, in words.

    Args:
        folder: the job's folder.
        value: what the job returned: its score, NaN or None without one, or text that says why it did not run.
        began: the time at which the job began.
        monitor: the metric of the score.
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return "failed" if (folder / ERROR).exists() else "stopped"
    results = folder / RESULTS  # which a run that only predicts does not write
    before = results.exists() and results.stat().st_mtime < began
    pruned = (read_json(results) or {}).get("pruned")
    return f"{'finished before' if before else 'pruned' if pruned else 'finished'}, {monitor} {value:.4f}"


def ended(log: Path, since: str) -> int:
    """Return how many different jobs have ended since a time. A stopped job is left to do."""
    lines = [line for text in log.read_text(encoding="utf-8").splitlines() if (line := LINE.match(text))]
    return len({line[2] for line in lines if line[1] >= since})
