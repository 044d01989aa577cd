"""Annotations check every key of the config before a run builds or writes anything."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest
import torch
from annotated_types import Ge
from omegaconf import DictConfig
from torch import nn

from adamct.errors import InputError
from adamct.runs.schema import check
from adamct.values import Checked, DropoutRate, OddInt, PositiveInt, refusal
from tests.conftest import CONF, TINY, Ended, changed

Configure = Callable[..., DictConfig]
Run = Callable[..., Ended]

NEEDED = {
    "dataset=amazon": ("dataset.path=log.csv", "dataset.category=Books"),
    "dataset=custom": ("dataset.path=log.csv",),
    "logger=comet": ("logger.comet.tags=[]",),  # which needs a run, as those below
    "logger=mlflow": ("logger.mlflow.tags.dataset=beauty", "logger.mlflow.tags.model=adamct"),
    "logger=wandb": ("logger.wandb.job_type=job", "logger.wandb.tags=[]"),
}
"""Values of mandatory keys, by the choice that has them."""
GROUPS = ("model", "loss", "optimizer", "scheduler", "dataset", "trainer", "logger", "callbacks")


def plain(configure: Configure, *choices: str) -> dict[str, Any]:
    """Return a config of some choices as `run.py` checks it."""
    needed = [override for choice in choices for override in NEEDED.get(choice, ())]
    return changed(configure("output_dir=out", *choices, *needed))


def choices(group: str) -> list[str]:
    return [f"{group}={path.stem}" for path in sorted((CONF / group).glob("*.yaml"))]


PARTS = [f"model/{group.name}={path.stem}" for group in (CONF / "model").iterdir() for path in group.glob("*.yaml")]
GATES = [f"model/gate@model.parts.{place}_gate={kind}" for place in ("local", "global") for kind in ("none", "softmax")]
BY_TIME = (
    "dataset=custom",
    "dataset/split=global_time",
    *(f"dataset.split.{key}_from=9" for key in ("validation", "test")),
)
EACH = list(zip(choices("model"), *(cycle(choices(group)) for group in GROUPS[1:]), strict=False))


@pytest.mark.parametrize("chosen", EACH, ids=lambda chosen: chosen[0])
def test_every_choice_in_conf_is_valid(
    chosen: tuple[str, ...], configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adamct.extras.find_spec", lambda module: module)  # as if all extras were installed
    check(plain(configure, *chosen))


@pytest.mark.slow
@pytest.mark.parametrize("part", [*(part for part in PARTS if "gate" not in part), *GATES])
def test_every_part_of_adamct_is_valid(part: str, configure: Configure) -> None:
    check(plain(configure, part))


def test_a_split_by_time_is_valid(configure: Configure) -> None:
    check(plain(configure, *BY_TIME))


@pytest.mark.slow
@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize("dataset", choices("dataset"))
def test_every_combination_of_choices_is_valid(model: str, dataset: str, configure: Configure) -> None:
    for others in product(*(choices(group) for group in ("loss", "scheduler", "trainer", "recipe"))):
        chosen = [choice for choice in others if "scheduler" not in choice or "recipe=fast" not in others]
        check(plain(configure, model, dataset, *chosen))


WRONG = {
    "trainer.max_epochs=1e3": "trainer.max_epochs=1000.0: must be a whole number",
    "trainer.check_val_every_n_epoch=0": "trainer.check_val_every_n_epoch=0: must be at least 1",
    "trainer.limit_test_batches=0": "trainer.limit_test_batches=0: must be at least 1 or above 0",
    "trainer.val_check_interval=0": "trainer.val_check_interval=0: must be at least 1 or above 0",
    "trainer.log_every_n_steps=0": "trainer.log_every_n_steps=0: must be at least 1",
    "trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches=0: must be at least 1",
    "stages=fit": "stages=fit: must be a list: [A, B, ...]",
    "stages=[]": "stages=[]: must be a list of 1 or more",
    "stages=[try]": "stages=[try]: must be 'fit', 'test' or 'predict'",
    "optimizer.lr=abc": "optimizer.lr=abc: must be a number",
    "optimizer.lr=1e400": "optimizer.lr=.inf: must be a finite number",
    "optimizer.betas=[0.9]": "optimizer.betas=[0.9]: must be",
    "cutoffs=[0]": "cutoffs=[0]: must be at least 1",
    "ckpt=5": "ckpt=5: must be text",
    "ckpt=/nonexistent": "ckpt=/nonexistent: must be null with fit in stages",
    "seed=-1": "seed=-1: must be at least 0",
    "seed=1.0": "seed=1.0: must be a whole number",
    "save_every_n_steps=''": "save_every_n_steps='': must be a whole number",
    "threads=many": "threads=many: must be a whole number or 'auto'",
    "threads=0": "threads=0: must be at least 1 or 'auto'",
    "compile=fast": "compile=fast: must be 'default', 'reduce-overhead' or 'max-autotune'",
    "matmul_precision=low": "matmul_precision=low: must be 'highest', 'high' or 'medium'",
    "predict.unseen=no": "predict.unseen='no': must be true or false",
    "predict.k=0": "predict.k=0: must be at least 1",
    "dataset.batch_size=0": "dataset.batch_size=0: must be at least 1",
    "dataset.negatives.count=1.5": "dataset.negatives.count=1.5: must be a whole number",
    "dataset.shuffle_histories=no": "dataset.shuffle_histories='no': must be true or false",
    "dataset.process.lag_weights=[a]": "dataset.process.lag_weights=[a]: must be a number",
    "dataset.process=5": "dataset.process=5: must be a node with a _target_",
    "model.dropout=true": "model.dropout=true: must be a number",
    "model.dropout=1": "model.dropout=1: must be below 1",
    "model.num_layers=-1": "model.num_layers=-1: must be at least 1",
    "model.kernel_size=4": "model.kernel_size=4: must be odd, so that the length stays as it is",
    "model.activation=selu": "model.activation=selu: must be 'gelu', 'relu', 'swish', 'tanh' or 'sigmoid'",
    "model.parts.local_gate.bias=1": "model.parts.local_gate.bias=1: must be true or false",
    "logger.csv.name=1": "logger.csv.name=1: must be text",
    "logger.csv=1": "logger={csv: 1}: must be a node with a _target_",
    "+model.hiden_size=3": "model.hiden_size: there is no such key; did you mean model.hidden_size?",
    "+optimizer.amsgrd=true": "optimizer.amsgrd: there is no such key; did you mean optimizer.amsgrad?",
    "+patiense=3": "patiense: there is no such key; did you mean patience?",
    "+predict.unsen=true": "predict.unsen: there is no such key; did you mean predict.unseen?",
    "model._target_=adamct.models.adamct.Adam": "model._target_=adamct.models.adamct.Adam: ",
    "logger.csv._target_=nowhere.Logger": "logger.csv._target_=nowhere.Logger: No module named 'nowhere'",
    "model._target_=5": "model._target_=5: ",
    "model.parts._target_=datamodules.nowhere.X": "model.parts._target_=datamodules.nowhere.X: ",
}


@pytest.mark.parametrize(("override", "line"), WRONG.items())
def test_a_wrong_value_is_an_error_that_names_its_key(override: str, line: str, configure: Configure) -> None:
    with pytest.raises(InputError) as error:
        check(changed(configure("output_dir=out"), override))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


WRONG_IN_OTHERS = {
    ("dataset=custom", "dataset.min_user=null"): "dataset.min_user=null: must be a whole number",
    ("dataset=amazon", "dataset.max_len=abc"): "dataset.max_len=abc: must be a whole number",
    ("dataset=amazon", "+dataset.min_usr=3"): "dataset.min_usr: there is no such key; did you mean dataset.min_user?",
    (
        *BY_TIME,
        "dataset.split.test_from=2014-13-01",
    ): "dataset.split.test_from='2014-13-01': must be a number or a",
    ("model=gru4rec", "model.all_positions=off"): "model.all_positions='off': must be true or false",
    ("model=core", "model.weights.num_layers=0"): "model.weights.num_layers=0: must be at least 1",
    ("model=nextitnet", "model.dilations=[1,0]"): "model.dilations=[1, 0]: must be at least 1",
    ("model=nextitnet", "model.dilations=12"): "model.dilations=12: must be a list: [A, B, ...]",
    ("loss=gbce", "loss.calibration=2"): "loss.calibration=2: must be at most 1",
    ("scheduler=one_cycle", "scheduler.anneal_strategy=up"): "scheduler.anneal_strategy=up: must be 'cos' or 'linear'",
}


@pytest.mark.parametrize(("overrides", "line"), WRONG_IN_OTHERS.items())
def test_a_wrong_value_of_another_choice_is_an_error(
    overrides: tuple[str, ...], line: str, configure: Configure
) -> None:
    *chosen, override = overrides
    with pytest.raises(InputError) as error:
        check(changed(configure("output_dir=out", *chosen, *NEEDED.get(chosen[0], ())), override))
    assert str(error.value).startswith(line)


def test_one_error_names_all_wrong_values(configure: Configure) -> None:
    with pytest.raises(InputError, match=r"^model\.dropout=true: [^;]*; trainer\.max_epochs=x: [^;]*$"):
        check(plain(configure, "model.dropout=true", "trainer.max_epochs=x"))


def test_a_deleted_key_is_an_error(configure: Configure) -> None:
    with pytest.raises(InputError, match=r"^patience is not set: give patience=VALUE$"):
        check(plain(configure, "~patience"))


@pytest.mark.integration
def test_top_level_keys_are_checked_without_torch(tmp_path: Path) -> None:
    script = (
        "import runpy, sys\ntry: runpy.run_path('run.py', run_name='__main__')\n"
        "except SystemExit as end: print(end, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, "seed=-1", f"hydra.run.dir={tmp_path}"]
    process = subprocess.run(command, cwd=CONF.parent, capture_output=True, text=True)
    assert process.stdout.endswith("error: seed=-1: must be at least 0 False\n"), process.stderr


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optimizer.lrr=1", "optimizer.lrr: there is no such key; did you mean optimizer.lr?"),
        ("optimiser.lr=1", "optimiser.lr: there is no such key; did you mean optimizer.lr?"),
        ("modell=sasrec", "modell: there is no such key; did you mean model?"),
        ("zzz=1", "zzz: there is no such key"),
        ("model=sasrecc", "model=sasrecc: must be one of adamct, "),
        ("model=sasrecc", "vsknn; did you mean sasrec?"),
        ("model=5", "model=5: must be the name of a choice"),
        ("model=[1,2]", "model: must be the name of a choice"),
        ("dataset=null", "dataset=null: "),
        ("dataset/split=global_time", "dataset/split"),
    ],
)
def test_mistyped_keys_and_choices_are_errors_of_one_line(override: str, line: str, tmp_path: Path, run: Run) -> None:
    ended = run(override, f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 1
    assert line in ended.line
    assert "\n" not in ended.line
    assert "+" not in ended.line


def test_scheduler_and_logger_can_be_null(tmp_path: Path, run: Run) -> None:
    ended = run(*TINY, "scheduler=null", "logger=null", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}")
    assert ended == Ended(0, "")
    assert not (tmp_path / "csv").exists()


def test_a_job_with_a_wrong_value_is_an_error_of_one_line(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = run("-m", *TINY, "trainer.max_epochs=1", "model.dropout=0.1,true", f"hydra.sweep.dir={tmp_path}")
    assert ended.code == 1
    assert "1 of the jobs" in ended.line
    assert "model.dropout=true: must be a number" in capsys.readouterr().err
    assert len(list(tmp_path.glob("*/results.json"))) == 1


class Pair(NamedTuple):
    one: int


@pytest.mark.parametrize(
    ("annotation", "allowed", "refused"),
    [
        (int, [0, -3, 10**30], [True, 1.0, "1", None, [1]]),
        (float, [0, 1.5, 1e30], [True, "1", float("nan"), float("inf"), 10**30, 10**400, None]),
        (bool, [True, False], [0, 1, "yes", "true", None]),
        (str, ["", "no"], [1, True, None, ["a"]]),
        (int | None, [None, 1], ["", True]),
        (PositiveInt, [1, 2**31 - 1], [0, 2**31, 1.5]),
        (OddInt, [1, 3], [2, -1, "3"]),
        (DropoutRate, [0, 0.99], [1, -0.1]),
        (Sequence[int], [[], [1], (1, 2)], ["12", [True], [None], 1, {"a": 1}]),
        (tuple[float, float], [[0.9, 1], (1, 2)], [[1], [1, 2, 3], 1]),
        (list[int] | int, [[1], 1], [[1.5], "a"]),
        (Mapping[int, Sequence[str]], [{2014: ["a"]}], [{2014: "a"}, {"x": ["a"]}, ["a"]]),
        (Literal["a", "b"], ["a"], ["c", 1, None]),
        (Pair, [Pair(1), {"_target_": "x"}], [[1], {"one": 1}, 1, None]),
        (nn.Module | None, [nn.Identity(), {"_target_": "x"}, None], [1, "x"]),
        (list[nn.Module], [[{"_target_": "x"}], []], [[1], {"_target_": "x"}]),
        (Callable[[int], int], [{"_target_": "x", "_partial_": True}, len], [1, "len"]),
        (Any, [None, 1, [{}]], []),
        (object, [None, 1], []),
        ("a reference to nothing", [1], []),
        (Annotated[int | None, Ge(1)], [1], [0]),
    ],
)
def test_annotations_decide_which_values_are_allowed(annotation: Any, allowed: list[Any], refused: list[Any]) -> None:
    assert [value for value in allowed if refusal(value, annotation) is not None] == []
    assert [value for value in refused if refusal(value, annotation) is None] == []


def test_a_checked_class_refuses_what_its_annotations_refuse() -> None:
    class Part(Checked, nn.Module):
        def __init__(self, size: PositiveInt, inner: nn.Module, *, rate: DropoutRate = 0.5):
            super().__init__()
            self.inner, self.size = inner, size

    assert Part(2, nn.Identity()).size == 2
    with pytest.raises(InputError, match=r"^size=0: must be at least 1$"):
        Part(0, nn.Identity())
    with pytest.raises(InputError, match=r"^rate=1\.0: must be below 1$"):
        Part(1, torch.nn.Identity(), rate=1.0)
