"""The config groups: every choice works, and choices of several groups add up."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from omegaconf import DictConfig

from tests.conftest import CONF, MODELS, TINY, UNTRAINED, Ended

Configure = Callable[..., DictConfig]
Run = Callable[..., Ended]
SMALL = [key for key in TINY if key.startswith(("dataset.num", "dataset.process", "dataset.negatives"))]
"""Overrides for an embedded dataset of a few users."""
OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(optimizer: str, tmp_path: Path, run: Run) -> None:
    short = ("optimizer.lr=0.03", "stages=[fit]", "trainer.max_epochs=2", f"hydra.run.dir={tmp_path}")
    assert run(*TINY, f"optimizer={optimizer}", *short) == Ended(0, "")
    first, last = results(tmp_path)["history"]["train/loss"]
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


def test_a_cell_has_the_values_of_its_model_and_its_own(configure: Configure) -> None:
    cell, base = (configure("dataset=beauty", "model=sasrec", *untuned) for untuned in ([], ["~tuned"]))
    assert (cell.optimizer.lr, cell.patience) == (0.003, 10)
    assert (base.optimizer.lr, base.patience) == (0.001, 20)
    assert configure("dataset=toys", "model=adamct").model.hidden_size == 32


@pytest.mark.parametrize("dataset", ["custom", "amazon"])
def test_custom_datasets_have_no_tuned_values_by_default(dataset: str, configure: Configure) -> None:
    cell = (f"dataset={dataset}", "model=sasrec")
    assert configure(*cell) == configure(*cell, "~tuned")
    assert configure(*cell, "+tuned/model=sasrec").optimizer.lr == 0.003
    assert configure(f"dataset={dataset}", "+tuned/toys=adamct").model.hidden_size == 32


@pytest.mark.parametrize(("model", "loss"), [("esasrec", "sampled_softmax"), ("gsasrec", "gbce")])
def test_a_model_chooses_its_loss_unless_the_command_does(model: str, loss: str, configure: Configure) -> None:
    cell = (f"model={model}", "dataset=beauty")
    assert configure(*cell).loss == configure(f"loss={loss}").loss != configure("model=sasrec").loss
    assert configure(*cell, "loss=bpr").loss == configure("loss=bpr").loss


QUICK = ("adamct", "popularity")


@pytest.mark.parametrize("model", [pytest.param(m, marks=[pytest.mark.slow] * (m not in QUICK)) for m in MODELS])
def test_a_debug_run_sees_one_batch_of_everything(
    model: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("debug=fast", f"model={model}", *SMALL, "trainer.accelerator=cpu") == Ended(0, "")
    (file,) = Path("outputs/debug").rglob("results.json")
    record = results(file.parent)
    assert record["cost"]["epochs"] == (model not in UNTRAINED)
    with np.load(file.with_name("ranks.npz")) as ranks:
        assert (ranks["full"] > 0).sum() == 32


@pytest.mark.slow
def test_a_real_run_does_not_resume_a_debug_run(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("debug=fast", *SMALL, "trainer.accelerator=cpu", "hydra.run.dir=run") == Ended(0, "")
    ended = run(*SMALL, "trainer.accelerator=cpu", "dataset.batch_size=32", "hydra.run.dir=run")
    assert ended.code == 1
    assert "trainer.limit_" in ended.line


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CONF)))
def test_every_yaml_begins_with_a_comment(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")


README = (CONF / "README.md").read_text()


def test_the_worked_example_is_what_is_printed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    ((command, printed),) = re.findall(r"```bash\npython run\.py ([^`\n]*)\n```\n\n```yaml\n(.*?)```", README, re.S)
    assert run(*command.split()) == Ended(0, "")
    assert capsys.readouterr().out.strip() == printed.strip()


def test_every_choice_that_the_readme_lists_exists() -> None:
    rows = re.findall(r"^\| `([\w/]+)[@`].*?\| (.*?) \|", README.partition("## Which value wins")[0], re.M)
    listed = [(group, names) for group, names in rows if not names.startswith("follows")]
    choices = {(group, name) for group, names in listed for name in re.findall(r"`(\w+)`", names)}
    assert len(choices) > 50
    assert [choice for choice in choices if not (CONF / choice[0] / f"{choice[1]}.yaml").exists()] == []
