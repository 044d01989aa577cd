"""Comet's offline files. Its import takes seconds."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY, Ended

pytest.importorskip("comet_ml")
pytestmark = pytest.mark.slow
Run = Callable[..., Ended]


def contents(folder: Path) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return the experiment and the messages of each file, the oldest first."""
    archives = [
        zipfile.ZipFile(path)
        for path in sorted((folder / "comet").glob("*.zip"), key=lambda path: path.stat().st_mtime)
    ]
    return [
        (
            json.loads(archive.read("experiment.json")),
            [json.loads(line) for line in archive.read("messages.json").splitlines()],
        )
        for archive in archives
    ]


def test_an_offline_run_and_its_continuation_have_files_to_upload(tmp_path: Path, run: Run) -> None:
    command = (*TINY, "logger=comet", "logger.comet.online=false", f"hydra.run.dir={tmp_path}")
    assert run(*command, "trainer.max_epochs=1") == Ended(0, "")
    ((experiment, messages),) = contents(tmp_path)
    payloads = [message["payload"] for message in messages]
    parameters = [payload["param"] for payload in payloads if "param" in payload]
    parameters = [parameter for parameter in parameters if parameter["source"] == "manual"]  # Comet adds the step
    values = {parameter["paramName"]: parameter["paramValue"] for parameter in parameters}
    assert len(values) == len(parameters)
    assert values["model.parts.local_gate.bias"] == "true"
    metrics = {payload["metric"]["metricName"] for payload in payloads if "metric" in payload}
    assert {"val/full/ndcg@10", "test/uni20/recall@10", "best/full/mrr", "cost/parameters"} <= metrics
    names = [payload["additional_params"]["fileName"] for payload in payloads if payload.get("additional_params")]
    assert [name for name in names if "histogram" in name] == ["mixture/layer1/histogram", "mixture/layer2/histogram"]
    others = {payload["key"]: payload["value"] for payload in payloads if "key" in payload}
    assert (others["group"], others["ended"]) == (tmp_path.parent.name, "success")

    assert run(*command, "trainer.max_epochs=2") == Ended(0, "")
    _, (continued, _) = contents(tmp_path)
    assert continued["offline_id"] == experiment["offline_id"] == (tmp_path / "comet_experiment_key").read_text()
    assert (experiment["resume_strategy"], continued["resume_strategy"]) == ("create", "get")


def test_no_account_is_one_line(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("COMET_API_KEY", raising=False)
    ended = run(*TINY, "logger=comet", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 1
    assert ended.line.startswith("error: logger.comet: ")
    assert ended.line.endswith("comet login, or logger.comet.online=false, which needs no account")
    assert not (tmp_path / "run" / "comet_experiment_key").exists()
