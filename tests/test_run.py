import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf

from tests.conftest import CONF, TINY, Ended, give

Run = Callable[..., Ended]


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        assert give(patch, *TINY, "seed=3", f"hydra.run.dir={folder}") == Ended(0, "")
    return folder


@pytest.mark.integration
@pytest.mark.slow
def test_a_process_of_its_own_has_the_same_results(finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(CONF.parent / "run.py"), *TINY, "seed=3", f"hydra.run.dir={tmp_path}"]
    subprocess.run(command, check=True)
    assert results(tmp_path)["metrics"] == results(finished)["metrics"]


@pytest.mark.integration
def test_results_agree_with_ranks_and_config(finished: Path) -> None:
    record = results(finished)
    with np.load(finished / "ranks.npz") as arrays:
        ranks = {name: arrays[name].astype(int) for name in ("uni20", "full")}
        ranks["full_unseen"] = ranks["full"] - arrays["seen_above"]
    for protocol, rank in ranks.items():
        assert len(rank) == record["dataset"]["num_users"]
        assert record["metrics"][f"test/{protocol}/recall@10"] == pytest.approx((rank <= 10).mean(), abs=1e-12)
        gain = (1 / np.log2(rank + 1.0))[rank <= 10].sum() / len(rank)
        assert record["metrics"][f"test/{protocol}/ndcg@10"] == pytest.approx(gain, abs=1e-12)
    assert record["seed"] == 3
    assert record["config"]["model"]["hidden_size"] == 8
    assert "seed=3" in record["overrides"]
    assert record["cost"]["epochs"] == 3
    assert set(record["references"]) == {"popularity", "markov", "planted optimum"}
    best, popularity = (record["references"][name] for name in ("planted optimum", "popularity"))
    assert best["test/uni20/ndcg@10"] > popularity["test/uni20/ndcg@10"]
    # In the embedded data no item repeats: the optimum gives those that were seen no chance, and popularity does.
    assert best["test/full_unseen/mrr"] == best["test/full/mrr"]
    assert popularity["test/full_unseen/mrr"] > popularity["test/full/mrr"]


@pytest.mark.integration
def test_best_checkpoint_is_of_the_best_validation(finished: Path) -> None:
    checkpoint = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    lines = [line.split(",") for line in (finished / "csv/version_0/metrics.csv").read_text().splitlines()]
    column = lines[0].index("val/uni20/ndcg@10")
    curve = [float(line[column]) for line in lines[1:] if line[column]]
    assert len(curve) == 3
    assert checkpoint["epoch"] == int(np.argmax(curve))
    assert checkpoint["val_scores"]["val/uni20/ndcg@10"] == pytest.approx(max(curve), abs=1e-6)


@pytest.mark.integration
def test_saved_config_alone_reproduces_the_run(finished: Path, tmp_path: Path, run: Run) -> None:
    again = tmp_path / "again"
    ended = run(f"--config-path={finished}", "--config-name=config", f"hydra.run.dir={again}")
    assert ended.code == 0
    assert results(again)["metrics"] == results(finished)["metrics"]


@pytest.mark.integration
def test_checkpoint_tests_to_the_same_metrics(finished: Path, tmp_path: Path, run: Run) -> None:
    checkpoints = finished / "checkpoints"
    ended = run(*TINY, "seed=3", "stages=[test]", f"ckpt={checkpoints}", f"hydra.run.dir={tmp_path}")
    assert ended.code == 0
    assert results(tmp_path)["metrics"] == results(finished)["metrics"]
    assert results(tmp_path)["chosen"] == results(finished)["chosen"]


EARLY = {
    "patience=0": "patience=0: must be at least 1",
    "stages=[test]": "stages=[test] needs the weights to use: ckpt=PATH",
    "dataset=custom dataset.path=nowhere.csv": "nowhere.csv: No such file or directory",
    "hydra/sweeper=cases": "hydra/sweeper=cases is for the jobs of a sweep: add -m",
    "-m hydra/launcher=slurm": "hydra/launcher=slurm: needs sbatch and srun",
}
"""Mistakes that need no data, and what the error says of them."""
EARLY_SCRIPT = """
import runpy, sys
from hydra.core.global_hydra import GlobalHydra
for command in ["--cfg job", *sys.argv[1:]]:
    GlobalHydra.instance().clear()
    sys.argv = ["run.py", *command.split()]
    try:
        runpy.run_path("run.py", run_name="__main__")
    except SystemExit as exit:
        print(f"{command} -> {exit.code}")
    if command == "--cfg job":
        print("polars:", "polars" in sys.modules)
print("torch:", "torch" in sys.modules)
"""


@pytest.mark.integration
def test_help_and_mistakes_that_need_no_data_do_not_wait_for_torch(tmp_path: Path) -> None:
    for name in ("run.py", "conf", "adamct", "datamodules", "hydra_plugins"):
        (tmp_path / name).symlink_to(CONF.parent / name)
    process = subprocess.run([sys.executable, "-c", EARLY_SCRIPT, *EARLY], cwd=tmp_path, capture_output=True, text=True)
    assert "\npolars: False\n" in process.stdout
    assert process.stdout.endswith("\ntorch: False\n"), process.stderr
    lines = [line for line in process.stdout.splitlines() if " -> " in line]
    for line, (command, message) in zip(lines, EARLY.items(), strict=True):
        assert line.startswith(f"{command} -> error: ")
        assert message in line


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["model.hiden_size=3"], ["model.hiden_size"]),
        (["model=nope"], ["model=nope", "adamct"]),
        (["model.kernel_size=4"], ["model.kernel_size=4", "odd"]),
        (["model.num_heads=3"], ["model.num_heads=3", "model.hidden_size=8"]),
        (["trainer.accelerator=abacus"], ["trainer:", "abacus"]),
        (["trainer.val_check_interval=1000"], ["trainer:", "val_check_interval"]),
        (["monitor=val/uni100/ndcg@10"], ["monitor=val/uni100/ndcg@10", "val/uni20/ndcg@10"]),
        (["stages=[test]", "ckpt=nowhere.ckpt"], ["nowhere.ckpt", "no such checkpoint"]),
        (["resume=nowhere.ckpt"], ["nowhere.ckpt", "no such checkpoint"]),
        (["+callbacks.x={_target_: datetime.timedelta}"], ["callbacks.x: must be a pytorch_lightning.Callback"]),
        (["+callbacks.x={_target_: builtins.dict}"], ["callbacks.x: must be a pytorch_lightning.Callback"]),
        (
            ["+callbacks.x={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: nope}"],
            ["callbacks: ", "metric `nope`"],
        ),
        (["optimizer.lr=1e30"], ["not finite at step 1", "optimizer.lr"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_mistakes_are_errors_of_one_line(overrides: list[str], named: list[str], tmp_path: Path, run: Run) -> None:
    ended = run(*TINY, *overrides, f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert "\n" not in ended.line
    assert all(name in ended.line for name in named), ended.line
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["dataset=custom"], ["dataset.path"]),
        (["dataset=custom", "dataset.path="], ["dataset.path='': must be text that is not empty"]),
        (["dataset=custom", "dataset.path=empty.csv"], ["empty.csv"]),
        (["dataset=toys", "dataset.path=small.txt"], ["small.txt", "167,597", "dataset.expect=null"]),
        (["dataset=custom", "dataset.path=sparse.txt"], ["dataset.min_user"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_unusable_logs_are_errors_of_one_line(
    overrides: list[str], named: list[str], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.csv").touch()
    Path("small.txt").write_text("".join(f"{user} 1 2 3 4 5 6 7\n" for user in range(9)))
    Path("sparse.txt").write_text("1 2 3\n4 5 6\n")
    ended = run(*overrides, "hydra.run.dir=out")
    assert ended.code == 1
    assert "\n" not in ended.line
    assert all(name in ended.line for name in named), ended.line
    cache = Path("data/cache")
    assert not cache.exists() or [path.name for path in cache.iterdir() if path.is_dir()] in ([], [cached(cache)])


def cached(cache: Path) -> str:
    """Return the one complete entry. A file is prepared before its counts are compared with the expected ones."""
    return next((path.name for path in cache.iterdir() if (path / "facts.json").exists()), "")


@pytest.mark.integration
@pytest.mark.parametrize("content", [b"", b"no checkpoint", None], ids=["empty", "garbage", "truncated"])
def test_corrupt_checkpoints_are_refused(content: bytes | None, finished: Path, tmp_path: Path, run: Run) -> None:
    whole = (finished / "checkpoints" / "best.ckpt").read_bytes()
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(whole[: len(whole) // 2] if content is None else content)
    ended = run(*TINY, "seed=3", "stages=[test]", f"ckpt={broken}", f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert "\n" not in ended.line
    assert str(broken) in ended.line


@pytest.mark.integration
@pytest.mark.parametrize("other", ["model.kernel_size=5", "dataset.num_users=121", "model=adamct_paper"])
def test_checkpoints_of_other_runs_are_refused(other: str, finished: Path, tmp_path: Path, run: Run) -> None:
    checkpoint = finished / "checkpoints" / "best.ckpt"
    ended = run(*TINY, "seed=3", other, "stages=[test]", f"ckpt={checkpoint}", f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert "\n" not in ended.line
    assert str(checkpoint) in ended.line
    assert ended.line.endswith("or another ckpt")


@pytest.mark.integration
def test_a_state_of_another_run_is_not_resumed(finished: Path, tmp_path: Path, run: Run) -> None:
    last = finished / "checkpoints" / "last.ckpt"
    ended = run(*TINY, "seed=4", f"resume={last}", f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert f"{last}: was trained with seed=3, but this run has seed=4; give" in ended.line
    assert ended.line.endswith("or another resume")


@pytest.mark.integration
def test_checkpoints_execute_nothing(finished: Path, tmp_path: Path, run: Run) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "executed",))

    checkpoint = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    torch.save({**checkpoint, "trap": Trap()}, tmp_path / "trap.ckpt")
    ended = run(*TINY, "seed=3", "stages=[test]", f"ckpt={tmp_path / 'trap.ckpt'}", f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert not (tmp_path / "executed").exists()


class Poison(pl.Callback):
    """A callback that makes the weights NaN from the second epoch on."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any, **__: Any) -> None:
        if trainer.current_epoch == 0:
            return
        for parameter in pl_module.parameters():
            parameter.data.fill_(torch.nan)


@pytest.mark.integration
def test_nan_keeps_the_last_good_checkpoint(finished: Path, tmp_path: Path, run: Run) -> None:
    poison = "+callbacks.poison={_target_: tests.test_run.Poison}"
    assert run(*TINY, "seed=3", "trainer.max_epochs=1", poison, f"hydra.run.dir={tmp_path}").code == 0
    good = (tmp_path / "checkpoints" / "best.ckpt").read_bytes()
    ended = run(*TINY, "seed=3", "resume=auto", poison, f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert "not finite at step" in ended.line
    assert (tmp_path / "checkpoints" / "best.ckpt").read_bytes() == good


@pytest.mark.integration
def test_mixture_coefficients_are_logged(finished: Path) -> None:
    header = (finished / "csv/version_0/metrics.csv").read_text().splitlines()[0].split(",")
    for layer in (1, 2):
        names = ("mean", "std", "q10", "q90", "user0", "user1")
        assert {f"mixture/layer{layer}/{name}" for name in names} <= set(header)


@pytest.mark.integration
def test_run_folder_holds_a_whole_config(finished: Path) -> None:
    config = OmegaConf.load(finished / "config.yaml")
    assert set(config) >= {"dataset", "model", "trainer", "logger", "optimizer", "seed", "monitor"}


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adamct.checkpoint import AtomicCheckpointIO

    def fill_disk(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, file)
    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(OSError, match=r"last\.ckpt"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, file)
    assert torch.load(file, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("key", ["hydra.run.dir", "data_dir"])
def test_unwritable_folders_are_errors_of_one_line(key: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "log.txt").write_text("".join(f"{user} 1 2 3 4 5 6 7\n" for user in range(9)))
    folders = {"hydra.run.dir": tmp_path / "out", "data_dir": tmp_path / "data", key: tmp_path / "file" / "folder"}
    ended = run("dataset=custom", f"dataset.path={tmp_path / 'log.txt'}", *(f"{k}={v}" for k, v in folders.items()))
    assert ended.code == 1
    assert "\n" not in ended.line
    assert str(tmp_path / "file") in ended.line
