"""A folder belongs to one run: no other run writes to it, at the same time or later."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

import adamct
from adamct.errors import InputError
from adamct.report.inputs.runs import find_runs
from adamct.runs.folder import RunFolder
from tests.conftest import CONF, TINY, Ended, give

Run = Callable[..., Ended]
SEED = "seed=3"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        assert give(patch, *TINY, SEED, "trainer.max_epochs=1", f"hydra.run.dir={folder}").code == 0
    return folder


@pytest.fixture
def finished(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "finished"))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["model=sasrec"], "model._target_"),
        pytest.param(["seed=4"], "seed=3", marks=pytest.mark.slow),
        (["seed=4", "resume=null"], "seed=3"),
        pytest.param(["dataset.process.seed=1"], "dataset.sha256", marks=pytest.mark.slow),
        pytest.param(["dataset.negatives.count=10"], "monitor=val/uni20/ndcg@10", marks=pytest.mark.slow),
        pytest.param(["trainer.gradient_clip_val=1.0"], "trainer.gradient_clip_val=None", marks=pytest.mark.slow),
        (["stages=[test]", "ckpt=FINISHED/checkpoints"], "ckpt=None"),
        pytest.param(["model.dropout=2"], "dropout", marks=pytest.mark.slow),
        (["trainer.max_epochs=0"], "more than trainer.max_epochs=0"),
        (["stages=[fit,predict]"], "holds results of test"),
        pytest.param(["monitor=val/none"], "monitor=val/none", marks=pytest.mark.slow),
    ],
)
def test_a_refused_run_does_not_change_another(overrides: list[str], named: str, finished: Path, run: Run) -> None:
    before = contents(finished)
    replaced = [override.replace("FINISHED", str(finished)) for override in overrides]
    ended = run(*TINY, SEED, "trainer.max_epochs=1", *replaced, f"hydra.run.dir={finished}")
    assert ended.code == 1
    assert named in ended.line
    assert "\n" not in ended.line
    assert contents(finished) == before


def test_a_record_without_training_is_not_replaced(tmp_path: Path, run: Run) -> None:
    command = [key for key in TINY if "hidden_size" not in key]
    command += ["model=popularity", f"hydra.run.dir={tmp_path}"]
    assert run(*command, SEED).code == 0
    before = contents(tmp_path)
    assert "holds a run with" in run(*command, "seed=4").line
    assert "dataset.sha256" in run(*command, SEED, "dataset.process.seed=1").line
    assert contents(tmp_path) == before


def test_a_continued_run_that_is_cut_off_is_unfinished(finished: Path, run: Run) -> None:
    record = (finished / "results.json").read_bytes()
    command = (*TINY, SEED, f"hydra.run.dir={finished}")
    (finished / "recommendations.parquet").mkdir()  # in the way of the file, which is written after the test
    assert run(*command, "trainer.max_epochs=2", "stages=[fit,test,predict]").code == 1
    assert not (finished / "results.json").exists()
    assert (finished / "earlier_results.json").read_bytes() == record
    assert (finished / "error.txt").exists()
    assert run(*command, "trainer.max_epochs=2").code == 0
    assert json.loads((finished / "results.json").read_text())["config"]["trainer"]["max_epochs"] == 2


def test_a_changed_log_makes_another_run(tmp_path: Path, run: Run) -> None:
    log = tmp_path / "log.txt"
    keys = [key for key in TINY if not key.startswith(("dataset.num_users", "dataset.process", "model."))]
    data = ("dataset=custom", f"dataset.path={log}", "dataset.min_user=3", "dataset.min_item=1", f"data_dir={tmp_path}")
    command = (*keys, *data, "model=popularity", f"hydra.run.dir={tmp_path / 'run'}")
    log.write_text("".join(f"{user} {' '.join(str(user + item) for item in range(5))}\n" for user in range(40)))
    assert run(*command).code == 0
    assert run(*command).code == 0
    before = contents(tmp_path / "run")
    log.write_text("".join(f"{user} {' '.join(str(user + 2 * item) for item in range(5))}\n" for user in range(40)))
    ended = run(*command)
    assert ended.code == 1
    assert "holds a run with dataset." in ended.line
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize(
    "text",
    [*(pytest.param(text, marks=pytest.mark.slow) for text in ("", "[]")), '{"metrics": ', '{"foreign": true}'],
)
def test_a_damaged_record_is_made_again(text: str, finished: Path, run: Run) -> None:
    metrics = json.loads((finished / "results.json").read_text())["metrics"]
    (finished / "results.json").write_text(text)
    assert run(*TINY, SEED, "trainer.max_epochs=1", f"hydra.run.dir={finished}").code == 0
    assert json.loads((finished / "results.json").read_text())["metrics"] == metrics


def test_results_of_an_unknown_run_are_kept(tmp_path: Path, run: Run) -> None:
    (tmp_path / "results.json").write_text('{"foreign": true}')
    ended = run(*TINY, SEED, f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert f"{tmp_path}: holds results.json or checkpoints of an unknown run" in ended.line
    assert {*contents(tmp_path)} - {"run.log"} == {"results.json"}
    assert (tmp_path / "results.json").read_text() == '{"foreign": true}'


def test_the_last_line_of_a_failure_is_the_error_message(tmp_path: Path, configure: Callable[..., DictConfig]) -> None:
    with pytest.raises(InstantiationException) as raised:
        instantiate(configure("dataset.process.num_items=60").dataset)
    RunFolder(tmp_path).record_failure(raised.value)
    first, *_, last = (tmp_path / "error.txt").read_text().splitlines()
    assert first == "Traceback (most recent call last):"
    assert last == "num_groups=100: must be at most num_items=60"
    (tmp_path / "config.yaml").touch()
    (failed,) = find_runs([tmp_path])
    assert failed.error == last


@pytest.mark.parametrize("name", ["config.yaml", "error.txt"])
def test_a_folder_of_something_else_is_not_changed(name: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / name).write_text("mine: 1\n")
    line = f"{tmp_path}: holds a {name} of something else; give another hydra.run.dir"
    assert run(*TINY, f"hydra.run.dir={tmp_path}") == Ended(1, f"error: {line}")
    with pytest.raises(InputError) as refused:
        adamct.train([*TINY, f"hydra.run.dir={tmp_path}"])
    assert str(refused.value) == line
    assert contents(tmp_path) == {name: b"mine: 1\n"}


def test_a_folder_of_another_multirun_is_not_changed(tmp_path: Path, run: Run) -> None:
    (tmp_path / "multirun.yaml").write_text("mine: 1\n")
    ended = run("-m", *TINY, "seed=1,2", f"hydra.sweep.dir={tmp_path}")
    assert ended == Ended(
        1, f"error: {tmp_path}: holds a multirun.yaml of something else; give another hydra.sweep.dir"
    )
    assert contents(tmp_path) == {"multirun.yaml": b"mine: 1\n"}


@pytest.mark.parametrize(("flag", "key"), [("--run", "hydra.run.dir"), ("-m", "hydra.sweep.dir")])
def test_an_empty_folder_is_not_the_working_directory(
    flag: str, key: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(flag, *TINY, f"{key}=") == Ended(1, f"error: {key} is empty: give {key}=FOLDER")
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_run_are_not_recorded(finished: Path, tmp_path: Path, run: Run) -> None:
    other = tmp_path / "other"
    assert run(*TINY, "seed=4", "trainer.max_epochs=1", f"hydra.run.dir={other}").code == 0
    shutil.copy(other / "checkpoints" / "best.ckpt", finished / "checkpoints" / "best.ckpt")
    (finished / "results.json").unlink()
    ended = run(*TINY, SEED, "trainer.max_epochs=1", f"hydra.run.dir={finished}")
    assert ended.code == 1
    assert "best.ckpt: was trained with seed=4, but this run has seed=3" in ended.line
    assert not (finished / "results.json").exists()


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path: Path, run: Run) -> None:
    with FileLock(tmp_path / ".lock"):
        ended = run(*TINY, f"hydra.run.dir={tmp_path}")
    assert ended == Ended(
        1, f"error: {tmp_path}: another run is using this folder; wait until it ends, or give another hydra.run.dir"
    )
    assert {*contents(tmp_path)} <= {"run.log"}


@pytest.mark.integration
@pytest.mark.slow
def test_one_of_two_concurrent_runs_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(CONF.parent / "run.py"), *TINY, f"hydra.run.dir={tmp_path}"]
    seeds = (1, 2)
    processes = [subprocess.Popen([*command, f"seed={seed}"], stderr=subprocess.PIPE, text=True) for seed in seeds]
    lines = [process.communicate()[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 1]
    assert str(tmp_path) in lines[codes.index(1)]
    assert json.loads((tmp_path / "results.json").read_text())["seed"] == seeds[codes.index(0)]
