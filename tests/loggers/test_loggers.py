"""Loggers of a run in general: several at once, their ends, histograms, missing extras."""

import csv
import re
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from pytorch_lightning.loggers import CSVLogger

from adamct import extras
from adamct.errors import InputError
from adamct.loggers.base import End, running
from adamct.loggers.histogram import svg
from adamct.runs.schema import check
from tests.conftest import CONF, TINY, Ended, changed, composed

Run = Callable[..., Ended]


class Ending(CSVLogger):
    """A logger that keeps how its run ended."""

    ends: ClassVar[list[End]] = []

    def finish(self, end: End) -> None:
        self.ends.append(end)


@pytest.mark.parametrize(
    ("error", "end"),
    [(None, End.SUCCESS), (ValueError(), End.FAILURE), (KeyboardInterrupt(), End.STOP), (SystemExit(1), End.STOP)],
)
def test_loggers_know_how_the_run_ended(error: BaseException | None, end: End, tmp_path: Path) -> None:
    node = {"_target_": f"{__name__}.Ending", "save_dir": str(tmp_path)}
    Ending.ends.clear()
    expected = nullcontext() if error is None else pytest.raises(type(error))
    with expected, running(OmegaConf.create({"one": node, "two": node})):
        if error is not None:
            raise error
    assert Ending.ends == [end, end]


def test_a_logger_that_cannot_start_finishes_those_before_it(tmp_path: Path) -> None:
    node = {"_target_": f"{__name__}.Ending", "save_dir": str(tmp_path)}
    Ending.ends.clear()
    with (
        pytest.raises(Exception, match="missing 1 required positional argument"),
        running(OmegaConf.create({"one": node, "two": {"_target_": f"{__name__}.Ending"}})),
    ):
        pass
    assert Ending.ends == [End.FAILURE]


def test_several_loggers_have_the_same_values(tmp_path: Path, run: Run) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    place = f"hydra.run.dir={tmp_path}"
    assert run(*TINY, "logger=[csv,tensorboard]", "trainer.max_epochs=1", place) == Ended(0, "")
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = {"val/full/ndcg@10", "test/uni20/recall@10", "mixture/layer2/std", "best/full/mrr", "cost/parameters"}
    assert scalars <= set(events.Tags()["scalars"])
    assert "hp_metric" not in events.Tags()["scalars"]
    assert "mixture/layer1/histogram" in events.Tags()["histograms"]
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert scalars <= set(rows[0])
    assert [row["cost/parameters"] for row in rows if row["cost/parameters"]] == ["12614.0"]


def test_a_run_needs_no_logger(tmp_path: Path, run: Run) -> None:
    assert run(*TINY, "logger=none", "stages=[fit]", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}") == Ended(
        0, ""
    )
    assert not (tmp_path / "csv").exists()


def test_a_histogram_is_a_picture() -> None:
    picture = svg(torch.tensor([0.25, 0.5, 0.5, 1.0]))
    heights = [float(height) for height in re.findall(r'height="([\d.]+)" fill', picture)]
    assert sorted(heights)[-3:] == [64.0, 64.0, 128.0]
    assert re.findall(r">([\d.]+)</text>", picture) == ["0.25", "1"]
    assert 'width="512" height="152" viewBox="0 0 512 152"' in picture  # MLflow shows nothing without a size
    assert svg(torch.full((3,), 0.5)).count("<rect") == 64


@pytest.mark.parametrize(
    ("choice", "extra"), [("mlflow", "mlflow"), ("comet", "comet"), ("tensorboard", "tensorboard")]
)
def test_a_missing_extra_is_one_line_before_anything_else(
    choice: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any) -> None:
        raise AssertionError("imports torch")

    monkeypatch.setattr("adamct.extras.find_spec", lambda module: None)
    monkeypatch.setattr("adamct.runs.schema.arguments_of_node", slow)
    config = changed(composed("output_dir=out").copy())
    config["logger"][choice] = yaml.safe_load((CONF / "logger" / f"{choice}.yaml").read_text())[choice]
    with pytest.raises(InputError, match=rf"^logger\.{choice} needs .*: pip install 'adamct\[{extra}\]'$"):
        check(config)


def test_every_extra_that_is_checked_exists() -> None:
    project = tomllib.loads((CONF.parent / "pyproject.toml").read_text())["project"]
    assert set(extras.MODULES) <= set(project["optional-dependencies"])
    assert set(extras.TARGETS.values()) <= set(extras.MODULES)
