"""Trials a minute of a search whose trials take unequal times: in batches, without waiting, and in several commands.

The trials sleep, so that the number of cores does not matter. All three ways have the same number of trials at once.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna

from adamct.search.storage import open_storage

ROOT = Path(__file__).resolve().parents[1]
SEARCH = ("hydra/sweeper=optuna", "hydra/sweeper/sampler=random", "hydra.callbacks.sweep.report=false")


def trials_a_minute(module: str, commands: int, overrides: list[str]) -> float:
    """Run a search in a number of commands, and return its trials a minute, from its first start to its last end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", module, "-m", *SEARCH, *overrides, f"hydra.sweep.dir={folder}"]
        started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(commands)]
        for process in started:
            if process.wait() != 0:
                raise RuntimeError(f"{module} ended with {process.returncode}")
        trials = optuna.load_study(study_name="search", storage=open_storage(f"{folder}/study.log")).trials
        begin = min(trial.datetime_start for trial in trials if trial.datetime_start)
        end = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
        return 60 * len(trials) / (end - begin).total_seconds()


def main() -> None:
    """Measure the three ways in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=4, help="trials at once")
    parser.add_argument("--trials", type=int, default=24, help="trials of a search")
    parser.add_argument("--seconds", type=float, nargs=2, default=(2, 20), help="the shortest and the longest trial")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    shortest, longest = args.seconds
    space = [f"hydra.sweeper.n_trials={args.trials}", f"optimizer.lr=tag(log, interval({shortest}, {longest}))"]
    at_once = [f"hydra.sweeper.n_jobs={args.at_once}"]
    print("| round | batches | one command | one command for each trial at once |\n|---|---|---|---|")
    for number in range(args.rounds):
        figures = [
            trials_a_minute("benchmarks.batches", 1, space + at_once),
            trials_a_minute("benchmarks.sleeping", 1, space + at_once),
            trials_a_minute("benchmarks.sleeping", args.at_once, space),
        ]
        print(f"| {number + 1} | {' | '.join(f'{figure:.1f}' for figure in figures)} |", flush=True)


if __name__ == "__main__":
    main()
