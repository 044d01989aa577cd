"""The config groups: every choice works, and choices of several groups add up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from omegaconf import DictConfig

from tests.conftest import CONF, TINY, Ended

Configure = Callable[..., DictConfig]
Run = Callable[..., Ended]
OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(optimizer: str, tmp_path: Path, run: Run) -> None:
    assert run(*TINY, f"optimizer={optimizer}", "optimizer.lr=0.03", f"hydra.run.dir={tmp_path}") == Ended(0, "")
    first, *_, last = results(tmp_path)["history"]["train/loss"]
    assert last < first


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_tuned_values_reach_every_optimizer(optimizer: str, configure: Configure) -> None:
    cfg = configure("dataset=beauty", "model=caser", f"optimizer={optimizer}", "optimizer.lr=0.5")
    assert (cfg.optimizer.lr, cfg.optimizer.weight_decay) == (0.5, 5e-6)


class Marker(pl.Callback):
    """A user's callback, which leaves a file when a test ends."""

    def __init__(self, file: str):
        self.file = Path(file)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.file.touch()


def test_callbacks_of_a_study_and_of_a_user_add_up(tmp_path: Path, run: Run) -> None:
    study = ("sweep=figure5", "hydra.mode=RUN", "dataset=synthetic", "callbacks.item_correlations.num_users=2")
    mine = "+callbacks.my={_target_: tests.test_conf.Marker, file: '${output_dir}/my'}"
    assert run(
        *TINY, *study, "callbacks=mixture_coefficients", mine, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}"
    ) == Ended(0, "")
    assert {"item_correlations.npz", "coefficients.npz", "my"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("callbacks=nope", "callbacks=nope: must be one of item_correlations, mixture_coefficients"),
        ("+callbacks.my=5", "callbacks={my: 5}: must be a node with a _target_"),
        ("+callbacks.my={_target_: tests.test_conf.Marker, fil: x}", "callbacks.my.fil: there is no such key"),
        ("+trainer.callbacks=[]", "trainer.callbacks: there is no such key; did you mean callbacks?"),
        ("optimizer=nope", "optimizer=nope: must be one of adam, adamw, sgd"),
        ("optimizer.momentum=0.5", "optimizer.momentum: there is no such key"),
    ],
)
def test_mistyped_choices_of_groups_are_errors(override: str, line: str, tmp_path: Path, run: Run) -> None:
    ended = run(override, f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert line in ended.line
