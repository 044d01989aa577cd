"""What the loggers leave behind, read back from their files."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml
from wandb.proto import wandb_internal_pb2
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from tests.conftest import CONF, TINY, Ended

Run = Callable[..., Ended]
BLOCK = 32768
ARGUMENTS = ("${args_no_hyphens}",)


def records(folder: Path) -> Iterator[Any]:
    """The records of W&B's offline files: protobufs in LevelDB's log format, after a header of 7 bytes."""
    wandb.teardown()  # its service writes the last of a file only when it ends
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        data, at, pieces = file.read_bytes(), 7, b""
        while at + 7 <= len(data):
            if BLOCK - at % BLOCK < 7:  # too little is left in the block for another header
                at += BLOCK - at % BLOCK
                continue
            _, length, kind = struct.unpack("<IHB", data[at : at + 7])
            pieces += data[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last piece
                record = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
                record.ParseFromString(pieces)
                pieces = b""
                yield record


def of_kind(folder: Path, kind: str) -> list[Any]:
    return [getattr(record, kind) for record in records(folder) if record.WhichOneof("record_type") == kind]


def history(folder: Path) -> dict[str, list[Any]]:
    """Every value that was logged, by its key."""
    logged: dict[str, list[Any]] = {}
    for row in of_kind(folder, "history"):
        for item in row.item:
            logged.setdefault(item.key or ".".join(item.nested_key), []).append(json.loads(item.value_json))
    return logged


def config(folder: Path) -> dict[str, Any]:
    updates = [run.config for run in of_kind(folder, "run")] + of_kind(folder, "config")
    return {item.key or item.nested_key[0]: json.loads(item.value_json) for part in updates for item in part.update}


def test_wandb_offline_holds_the_whole_run(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    command = (*TINY, "logger=wandb", "logger.mode=offline", "resume=auto", f"hydra.run.dir={tmp_path}")
    assert run(*command, "trainer.max_epochs=1").code == 0
    assert "runtime.choices" not in (tmp_path / "config.yaml").read_text()
    started = of_kind(tmp_path, "run")[0]
    assert started.display_name == tmp_path.name
    assert started.run_group == tmp_path.parent.name
    assert started.job_type == "adamct"
    assert set(started.tags) == {"synthetic", "adamct"}
    assert config(tmp_path)["model"]["hidden_size"] == 8
    assert config(tmp_path)["statistics"]["users"] == 80
    logged = history(tmp_path)
    expected = {f"{stage}/{ranking}/ndcg@10" for stage in ("val", "test") for ranking in ("uni20", "full")}
    expected |= {"lr-Adam", "train/samples_per_second", "mixture/layer1/mean", "mixture/layer2/user1"}
    assert expected <= set(logged)
    assert logged["mixture/layer1/histogram._type"] == ["histogram"]
    assert [sum(counts) for counts in logged["mixture/layer1/histogram.values"]] == [80]
    summaries = {metric.glob_name: metric.summary.max for metric in of_kind(tmp_path, "metric")}
    assert summaries["val/*"]
    assert [end.exit_code for end in of_kind(tmp_path, "exit")] == [0]

    assert run(*command, "trainer.max_epochs=2").code == 0
    assert len({start.run_id for start in of_kind(tmp_path, "run")}) == 1
    assert len(history(tmp_path)["val/uni20/ndcg@10"]) == 2


def test_wandb_run_is_finished_when_the_job_fails(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    ended = run(*TINY, "logger=wandb", "logger.mode=offline", "optimizer.lr=1e30", f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert [end.exit_code for end in of_kind(tmp_path, "exit")] == [1]


@pytest.mark.slow
def test_jobs_of_a_sweep_are_runs_grouped_and_named(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    sweep = tmp_path / "sweep"
    command = ("-m", *TINY, "logger=wandb", "logger.mode=offline", "trainer.max_epochs=1", f"hydra.sweep.dir={sweep}")
    interrupted = "trainer.callbacks=[{_target_: tests.test_resume.Interrupter, step: 1, number: 2}]"
    assert run(*command, "optimizer.lr=1e30,0.01").code == 1
    assert run(*command, "optimizer.lr=0.02", interrupted).code == 1
    ends = {}
    for folder in sweep.glob("*lr*"):
        (started,) = of_kind(folder, "run")[:1]
        assert (started.run_group, started.display_name, started.job_type) == ("sweep", folder.name, "adamct")
        ends[folder.name] = [end.exit_code for end in of_kind(folder, "exit")]
    assert len(ends) == 2
    assert ends == {"optimizer.lr=1e+30": [1], "optimizer.lr=0.01": [0]}
    assert [end.exit_code for end in of_kind(sweep / "run", "exit")] == [1]


def test_the_sweep_of_wandb_agents_gives_commands_that_compose(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = yaml.safe_load((CONF / "wandb_sweep.yaml").read_text())
    drawn = {key: {"value": space.get("values", [space.get("min")])[0]} for key, space in sweep["parameters"].items()}
    arguments = create_sweep_command_args({"args": drawn})
    command = [word for part in sweep["command"] for word in (arguments[part[2:-1]] if part in ARGUMENTS else [part])]
    assert command[:3] == ["${env}", "${interpreter}", "${program}"]
    assert run("--cfg", "job", "--resolve", *command[3:]) == Ended(0, "")
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["activation"] == sweep["parameters"]["model.activation"]["values"][0]
    assert config["monitor"] == sweep["metric"]["name"]


def test_tensorboard_holds_metrics_and_histograms(tmp_path: Path, run: Run) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert run(*TINY, "logger=tensorboard", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}").code == 0
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"val/full/ndcg@10", "test/uni20/recall@10", "mixture/layer2/std"} <= set(events.Tags()["scalars"])
    assert "mixture/layer1/histogram" in events.Tags()["histograms"]


def test_a_run_without_a_logger(tmp_path: Path, run: Run) -> None:
    assert run(*TINY, "logger=none", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}").code == 0
    assert not (tmp_path / "csv").exists()
