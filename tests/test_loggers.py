"""What the loggers are told, and what they leave behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
import wandb
import yaml

from tests.conftest import CONF, TINY, Ended, Reported
from tests.training.interruptions import CUT, interrupt_at

Run = Callable[..., Ended]


def test_wandb_offline_holds_the_whole_run(tmp_path: Path, run: Run, wandb_runs: list[Reported]) -> None:
    command = (*TINY, "logger=wandb", "logger.mode=offline", "resume=auto", f"hydra.run.dir={tmp_path}")
    assert run(*command, "trainer.max_epochs=1").code == 0
    assert "runtime.choices" not in (tmp_path / "config.yaml").read_text()
    (first,) = wandb_runs
    assert (first.run.offline, first.run.name, first.run.group) == (True, tmp_path.name, tmp_path.parent.name)
    assert first.run.job_type == "adamct"
    assert set(first.run.tags) == {"synthetic", "adamct"}
    assert first.run.config["model"]["hidden_size"] == 8
    assert first.run.config["statistics"]["users"] == 80
    expected = {f"{stage}/{ranking}/ndcg@10" for stage in ("val", "test") for ranking in ("uni20", "full")}
    expected |= {"lr-Adam", "train/samples_per_second", "mixture/layer1/mean", "mixture/layer2/user1"}
    assert expected <= set(first.logged)
    (histogram,) = first.logged["mixture/layer1/histogram"]
    assert sum(histogram.histogram) == 80
    assert first.summaries["val/*"] == "max"
    assert first.exit_codes == [0]
    wandb.teardown()  # W&B writes the last of a file only when its service ends
    (file,) = tmp_path.glob(f"wandb/offline-run-*-{first.run.id}/*.wandb")
    assert file.stat().st_size > 10_000

    assert run(*command, "trainer.max_epochs=2").code == 0
    assert [report.run.id for report in wandb_runs] == 2 * [first.run.id]
    assert sum(len(report.logged["val/uni20/ndcg@10"]) for report in wandb_runs) == 2


def test_wandb_run_is_finished_when_the_job_fails(tmp_path: Path, run: Run, wandb_runs: list[Reported]) -> None:
    ended = run(*TINY, "logger=wandb", "logger.mode=offline", "optimizer.lr=1e30", f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert [report.exit_codes for report in wandb_runs] == [[1]]


@pytest.mark.slow
def test_jobs_of_a_sweep_are_runs_grouped_and_named(tmp_path: Path, run: Run, wandb_runs: list[Reported]) -> None:
    sweep = tmp_path / "sweep"
    command = ("-m", *TINY, "logger=wandb", "logger.mode=offline", "trainer.max_epochs=1", f"hydra.sweep.dir={sweep}")
    assert run(*command, "optimizer.lr=1e30,0.01").code == 1
    interrupt_at(1)
    assert run(*command, "optimizer.lr=0.02", CUT).code == 1
    assert {(report.run.group, report.run.job_type) for report in wandb_runs} == {("sweep", "adamct")}
    assert [(report.run.name, report.exit_codes) for report in wandb_runs] == [
        ("optimizer.lr=1e+30", [1]),
        ("optimizer.lr=0.01", [0]),
        ("run", [1]),
    ]
    assert len(list(sweep.glob("*/wandb/offline-run-*/*.wandb"))) == 3


def test_commands_of_wandb_agents_compose(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = yaml.safe_load((CONF / "wandb_sweep.yaml").read_text())
    drawn = {key: space.get("values", [space.get("min")])[0] for key, space in sweep["parameters"].items()}
    *command, arguments = sweep["command"]
    assert (command[:3], arguments) == (["${env}", "${interpreter}", "${program}"], "${args_no_hyphens}")
    # An agent puts param1=value1 param2=value2 there (https://docs.wandb.ai/guides/sweeps/sweep-config-keys).
    overrides = [f"{key}={value}" for key, value in drawn.items()]
    assert run("--cfg", "job", "--resolve", *command[3:], *overrides) == Ended(0, "")
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


def test_a_run_needs_no_logger(tmp_path: Path, run: Run) -> None:
    assert run(*TINY, "logger=none", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}").code == 0
    assert not (tmp_path / "csv").exists()
