"""`adamct.train` runs in this process, and leaves it as it was."""

import json
import logging
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import getbase

import adamct
from adamct.errors import InputError
from tests.conftest import TINY

ONE_EPOCH = (*TINY, "trainer.max_epochs=1")


def test_results_are_those_of_the_folder_and_the_callers_hydra_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("key: 3\n")
    handlers = logging.root.handlers[:]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        mine = GlobalHydra.instance().hydra, getbase(), HydraConfig.instance().cfg
        first, again = (adamct.train([*ONE_EPOCH, f"hydra.run.dir={tmp_path / 'run'}"]) for _ in range(2))
        assert compose("mine").key == 3
        assert (GlobalHydra.instance().hydra, getbase(), HydraConfig.instance().cfg) == mine
    assert logging.root.handlers == handlers
    assert first == again == {**json.loads((tmp_path / "run" / "results.json").read_text()), "folder": tmp_path / "run"}
    assert first["metrics"]["test/full/ndcg@10"] > 0


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed=-1", "seed=-1: must be at least 0"),
        ("seed=1,2", "seed=1,2"),
        ("sweep=table2", "a sweep is no single run"),
        ("preview=true", "preview=true lists the jobs of a sweep: add -m"),
        ("hydra/launcher=processes", "hydra/launcher=processes is for the jobs of a sweep: add -m"),
    ],
)
def test_mistakes_are_input_errors(override: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        adamct.train([override, f"hydra.run.dir={tmp_path}"])
    assert line in str(error.value)
    assert not (tmp_path / "results.json").exists()


def test_text_is_no_list_of_overrides() -> None:
    with pytest.raises(InputError, match=r'^seed=1: must be a list; give \["seed=1"\]$'):
        adamct.train("seed=1")


class Interrupt(pl.Callback):
    """A Ctrl-C in the first epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        raise KeyboardInterrupt


def test_ctrl_c_is_a_keyboard_interrupt_also_the_next_time(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        adamct.train([*ONE_EPOCH, f"+callbacks.stop={{_target_: {__name__}.Interrupt}}", f"hydra.run.dir={tmp_path}"])
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.slow
@pytest.mark.integration
def test_training_in_several_processes(tmp_path: Path) -> None:
    together = (*ONE_EPOCH, "trainer.strategy=ddp", "trainer.devices=2")
    assert adamct.train([*together, f"hydra.run.dir={tmp_path / 'run'}"])["metrics"]["test/full/ndcg@10"] > 0
    with pytest.raises(InputError, match=r"the run failed, .*; its error\.txt tells why"):
        adamct.train([*together, "dataset.batch_size=127", f"hydra.run.dir={tmp_path}"])
    assert "dataset.batch_size=127" in (tmp_path / "error.txt").read_text()
