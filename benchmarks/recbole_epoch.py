"""One epoch of the AdaMCT that its authors released, by RecBole; this imports nothing of the project.

``python recbole_epoch.py CONFIG FOLDER`` takes the authors' YAML in a clone of their repository, and a folder with a
log in RecBole's format, ``log/log.inter``. It prints the seconds of training and of a validation as JSON. The copy of
RecBole in the clone lacks ``recbole/data/dataset``: the model is the clone's, and the rest an installed RecBole's.
"""

import json
import sys
import time
from pathlib import Path
from runpy import run_path

from recbole.config import Config  # pyright: ignore[reportMissingImports]
from recbole.data import create_dataset, data_preparation  # pyright: ignore[reportMissingImports]
from recbole.trainer import Trainer  # pyright: ignore[reportMissingImports]
from recbole.utils import init_seed  # pyright: ignore[reportMissingImports]

SETTINGS = {
    "use_gpu": False,
    "epochs": 1,
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]},
    "show_progress": False,
    "state": "ERROR",
}
"""What differs from the authors' YAML: one epoch on the CPU, without the columns of items, which AdaMCT ignores."""


def main(config_file: Path, folder: Path) -> None:
    """Train for an epoch, validate once, and print the seconds of both."""
    file = config_file.parents[1] / "recbole" / "model" / "sequential_recommender" / "adamct.py"
    model = run_path(str(file))["AdaMCT"]
    places = {"data_path": str(folder), "checkpoint_dir": str(folder / "saved")}
    config = Config(model, "log", [str(config_file)], {**SETTINGS, **places})
    init_seed(config["seed"], config["reproducibility"])
    train, valid, _ = data_preparation(config, create_dataset(config))
    trainer = Trainer(config, model(config, train.dataset).to(config["device"]))
    began = time.perf_counter()
    trainer.fit(train, saved=False, verbose=False)
    trained = time.perf_counter()
    trainer.evaluate(valid, load_best_model=False)
    print(json.dumps({"training": trained - began, "validation": time.perf_counter() - trained}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
