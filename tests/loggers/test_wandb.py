"""What W&B receives from a run, and how its run ends."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml

from adamct.errors import InputError
from adamct.loggers.base import End
from tests.conftest import CONF, TINY, Ended, Reported, give
from tests.loggers.wandb_file import Sent, read
from tests.training.interruptions import CUT, interrupt_at

Run = Callable[..., Ended]
OFFLINE = ("logger=wandb", "logger.wandb.mode=offline")


class Finished:
    """A run that has finished, and what it wrote for W&B."""

    def __init__(self, folder: Path):
        (file,) = folder.glob("wandb/offline-run-*/*.wandb")
        self.folder = folder
        self.sent: Sent = read(file)
        self.results: dict[str, Any] = json.loads((folder / "results.json").read_text())

    def columns(self, beginning: str) -> dict[str, list[Any]]:
        """Return all values of each logged key with a beginning, in order."""
        keys = {key for step in self.sent.history for key in step if key.startswith(beginning)}
        return {key: [step[key] for step in self.sent.history if key in step] for key in keys}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A run of three epochs."""
    folder = tmp_path_factory.mktemp("group") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_SILENT", "true")
        assert give(patch, *TINY, *OFFLINE[1:], "logger=[csv,wandb]", f"hydra.run.dir={folder}") == Ended(0, "")
        wandb.teardown()  # W&B writes the last of a file only when its service ends
        yield Finished(folder)


def test_the_config_is_nested_and_has_the_facts_of_the_data(finished: Finished) -> None:
    config = finished.sent.config
    assert config["model"]["parts"]["local_gate"]["bias"] is True
    assert config["statistics"]["users"] == 80
    expected = finished.results["config"]
    assert {key: config[key] for key in expected} == expected


def test_the_summary_has_the_scores_of_the_record(finished: Finished) -> None:
    summary, metrics = finished.sent.summary, finished.results["metrics"]
    assert {key: summary[key] for key in metrics} == pytest.approx(metrics)
    assert "max" not in str(finished.sent.metrics)  # W&B's aggregates depend on the order of overlapping patterns
    cost = {f"cost/{name}": value for name, value in finished.results["cost"].items() if value is not None}
    assert {key: summary[key] for key in cost} == pytest.approx(cost)


def test_every_value_is_sent_once(finished: Finished) -> None:
    epochs = finished.results["cost"]["epochs"]
    for key, values in finished.columns("val/").items():
        assert len(values) == epochs, key
        assert values == pytest.approx(finished.results["history"][key])
    assert {len(values) for values in finished.columns("test/").values()} == {1}
    assert {len(values) for values in finished.columns("mixture/").values()} == {epochs}
    assert {len(values) for values in finished.columns("cost/").values()} == {1}
    once = {"train/loss_epoch", "train/samples_per_second", "lr-Adam"}
    assert {key: len(finished.columns(key)[key]) for key in once} == dict.fromkeys(once, epochs)
    for layer in (1, 2):
        assert all(
            sum(counts) == 80 for counts in finished.columns("mixture/")[f"mixture/layer{layer}/histogram.values"]
        )


def test_the_run_ends_once(finished: Finished) -> None:
    assert finished.sent.exit_codes == [0]
    assert (finished.folder / "csv" / "version_0" / "metrics.csv").exists()


def test_panels_of_the_dashboard_name_what_runs_log(finished: Finished) -> None:
    pytest.importorskip("wandb_workspaces")
    from adamct.dashboard.workspace import Content, as_json, workspace
    from tests.dashboard.names import columns_of, keys_of

    spec = json.loads(as_json(workspace("me", "adamct", Content.of(20, 2, ["optimizer.lr", "model.dropout"]))))
    summary = {key.removesuffix("._type") for key in finished.sent.summary} | {"cost/peak_gpu_memory_mib"}
    logged = {key.removesuffix("._type") for step in finished.sent.history for key in step}
    assert {key for key, in_history in keys_of(spec) if in_history} <= logged
    assert {key for key, in_history in keys_of(spec) if not in_history} <= summary
    assert columns_of(spec) - {"run:displayName", "run:jobType", "config:seed.value"} <= {
        f"summary:{key}" for key in summary
    }
    assert finished.sent.config["seed"] == 212


def started(folder: Path) -> Any:
    from adamct.loggers.wandb_run import WandbRun

    return WandbRun(str(folder), "offline", "p", entity=None, name=None, group=None, job_type=None, tags=[])


def test_a_resumed_run_continues_its_run_and_keeps_its_best(
    tmp_path: Path, wandb_runs: list[Reported], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    first = started(folder)
    first.log_metrics({"val/full/mrr": 0.2, "test/full/mrr": 0.3}, 1)
    first.log_metrics({"val/full/mrr": 0.1, "test/full/mrr": 0.2}, 2)
    assert dict(first.experiment.summary)["val/full/mrr"] == 0.2
    assert dict(first.experiment.summary)["test/full/mrr"] == 0.2
    first.finish(End.STOP)

    start = wandb.init

    def resume(**settings: Any) -> Any:
        run = start(**settings)
        run.summary.update({"val/full/mrr": 0.2})  # as the server returns it
        return run

    monkeypatch.setattr(wandb, "init", resume)
    second = started(folder)
    second.log_metrics({"val/full/mrr": 0.1}, 3)
    assert dict(second.experiment.summary)["val/full/mrr"] == 0.2
    second.finish(End.SUCCESS)
    assert [(report.run.id, report.run.name, report.run.group) for report in wandb_runs] == 2 * [
        (first.version, "run", tmp_path.name)
    ]
    assert [report.exit_codes for report in wandb_runs] == [[255], [0]]


def test_a_refusal_of_wandb_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**settings: Any) -> None:
        raise wandb.Error("no key:\nlog in")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(InputError, match="no key: log in; logger"):
        started(tmp_path)


@pytest.mark.slow
def test_jobs_of_a_sweep_are_runs_grouped_and_named(tmp_path: Path, run: Run, wandb_runs: list[Reported]) -> None:
    sweep = tmp_path / "sweep"
    command = ("-m", *TINY, *OFFLINE, "trainer.max_epochs=1", f"hydra.sweep.dir={sweep}")
    assert run(*command, "optimizer.lr=1e30,0.01").code == 1
    interrupt_at(1)
    assert run(*command, "optimizer.lr=0.02", CUT).code == 1
    assert {(report.run.group, report.run.job_type) for report in wandb_runs} == {("sweep", "adamct")}
    assert [(report.run.name, report.exit_codes) for report in wandb_runs] == [
        ("optimizer.lr=1e+30", [1]),
        ("optimizer.lr=0.01", [0]),
        ("run", [255]),
    ]
    assert len(list(sweep.glob("*/wandb/offline-run-*/*.wandb"))) == 3


@pytest.mark.slow
def test_pruned_trials_are_finished_runs(tmp_path: Path, run: Run, wandb_runs: list[Reported]) -> None:
    search = (
        *("-m", *TINY, *OFFLINE, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", f"hydra.sweep.dir={tmp_path}"),
        *("optimizer.lr=choice(1e-8,0.02)", "stages=[fit]"),
        "+hydra.sweeper.pruner={_target_: optuna.pruners.ThresholdPruner, lower: 0.21}",
    )
    assert run(*search) == Ended(0, "")
    assert [report.exit_codes for report in wandb_runs] == 4 * [[0]]
    assert [len(report.logged["cost/parameters"]) for report in wandb_runs] == 4 * [1]
    pruned = [json.loads(path.read_text())["pruned"] for path in tmp_path.glob("*/results.json")]
    assert set(pruned) == {True, False}


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
