"""Seconds of AdaMCT beside the code that its authors released, on one core, in turn.

``python -m benchmarks.released CONFIG PYTHON [OVERRIDE ...]`` takes the authors' YAML in a clone of their
repository, and the Python of an environment that has RecBole. Both sides train on the same log for an epoch, and
validate. The other side ranks 100 sampled items; ours makes all three rankings.
"""

import argparse
import json
import os
import subprocess
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.progress import track

from benchmarks.commands import output_of, run
from benchmarks.setup import build
from datamodules.preprocessing import Interactions

EPOCHS = 3
"""Epochs of our side in a round. The seconds are those of the median epoch."""


def main() -> None:
    """Measure both sides in turn, and print a table."""
    parser = argparse.ArgumentParser("python -m benchmarks.released", description=__doc__)
    parser.add_argument("config", type=Path, help="such as CLONE/config/Amazon_Beauty.yaml")
    parser.add_argument("python", type=Path, help="the Python of an environment with RecBole")
    parser.add_argument("overrides", nargs="*", help="of our config, such as dataset=beauty dataset.path=FILE")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    for file in (arguments.config, arguments.python):
        if not file.is_file():
            parser.error(f"{file}: no such file")
    os.environ["OMP_NUM_THREADS"] = "1"
    rounds = [
        (ours(*arguments.overrides), released(arguments.config, arguments.python, *arguments.overrides))
        for _ in track(range(arguments.rounds), "measuring", transient=True)
    ]
    print("| | ratio | ours, s | released, s |\n|---|---|---|---|")
    for name in ("training", "validation"):
        sides = [[side[name] for side in both] for both in rounds]
        ratios = [theirs / own for own, theirs in sides]
        each = ", ".join(f"{ratio:,.1f}" for ratio in ratios)
        seconds = [f"{median(side):,.2f}" for side in zip(*sides, strict=True)]
        print(f"| {name} | {median(ratios):,.1f} ({each}) | {' | '.join(seconds)} |")


def ours(*overrides: str) -> dict[str, float]:
    """Return our seconds of a training epoch and of a validation."""
    with TemporaryDirectory() as folder:
        run(
            *overrides,
            f"hydra.run.dir={folder}",
            "trainer.enable_progress_bar=false",
            f"trainer.max_epochs={EPOCHS}",
            "stages=[fit]",
            "trainer=cpu",
        )
        cost = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))["cost"]
    return {"training": cost["train_seconds_per_epoch"], "validation": cost["validation_seconds"]}


def released(config: Path, python: Path, *overrides: str) -> dict[str, float]:
    """Return the same of the released code, in a process of RecBole's Python."""
    data = build(*overrides)[1]
    with TemporaryDirectory() as folder:
        write_log(data.interactions, Path(folder) / "log" / "log.inter")
        script = Path(__file__).with_name("recbole_epoch.py")
        command = [str(path.absolute()) for path in (python, script, config, Path(folder))]
        pipe = subprocess.PIPE
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)
        return json.loads(output_of(process).splitlines()[-1])


def write_log(interactions: Interactions, path: Path) -> None:
    """Write interactions as a log in RecBole's format. The place of an item in its user's history is its time."""
    path.parent.mkdir()
    rows = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    offsets, items = interactions.offsets.tolist(), interactions.items.tolist()
    for user, (begin, end) in enumerate(pairwise(offsets), 1):
        rows += [f"{user}\t{items[index]}\t1\t{index - begin}" for index in range(begin, end)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
