"""``python -m adamct.evaluate FILE dataset=beauty``: compare somebody else's recommendations with runs."""

import argparse
import shlex
from datetime import datetime
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import open_dict

from adamct.errors import exiting_on_mistake, require
from adamct.evaluate.lists import read_lists
from adamct.evaluate.record import evaluate
from adamct.report.inputs.names import file_names, label_of
from adamct.runs.callback import require_own_run
from adamct.runs.config import names_folder, resolved
from adamct.runs.console import accept_all_characters
from adamct.runs.schema import check
from adamct.runs.script import CONF

DESCRIPTION = (
    "Rank the test items of a dataset by the lists in FILE (CSV, TSV, JSON lines or Parquet), and write a run folder "
    "that python -m adamct.report compares with other runs. Columns: user, item and score or rank; or user and items."
)


def main() -> None:
    """Parse the command line and evaluate the file. Print a user's mistake in one line."""
    parser = argparse.ArgumentParser("python -m adamct.evaluate", description=DESCRIPTION)
    parser.add_argument("file", metavar="FILE", type=Path, help="the recommendations")
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        default=[],  # without it argparse calls a missing KEY=VALUE an error
        help="as for run.py: the dataset, the seed of the runs to compare with, label=NAME for the model's name in "
        "reports (default: the name of FILE), hydra.run.dir=FOLDER",
    )
    arguments = parser.parse_args()
    accept_all_characters()
    with exiting_on_mistake():
        run(arguments.file, arguments.overrides)


def run(file: Path, overrides: list[str]) -> None:
    """Evaluate a file by the protocol of a composed config."""
    require(file.exists(), f"{file}: there is no such file; give FILE, the recommendations, before KEY=VALUE")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    dataset = HydraConfig.get().runtime.choices["dataset"]
    name = label_of(cfg.label) or file.name
    taken = (CONF / "model" / f"{name}.yaml").exists()
    require(not taken, f"label={name}: is a model of conf/model; give another name")
    default = Path("outputs", file_names([f"{dataset}_{name}"])[0], f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")
    folder = Path(cfg.hydra.run.dir) if names_folder() else default
    require_own_run(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    cfg.output_dir = str(folder)
    config = resolved(cfg)
    check(config)
    evaluate(read_lists(file), {"dataset": dataset, "model": name}, instantiate(cfg.dataset), config, folder)
    folders = [str(path) for path in (folder, Path("reports/runs")) if path.is_dir()]  # a clone has the record
    print(f"compare with other runs: python -m adamct.report {shlex.join(folders)}")


if __name__ == "__main__":
    main()
