"""The report at the end of a sweep."""

from pathlib import Path

import pytest

from adamct.sweeps.callback import write_report
from tests.conftest import composed


@pytest.mark.parametrize(("logger", "calls"), [("wandb", 1), ("[csv,wandb]", 1), ("csv", 0), ("none", 0)])
def test_report_is_logged_to_wandb_if_the_runs_are(
    logger: str, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[object, ...]] = []
    monkeypatch.setattr("adamct.report.build.report", lambda folders, out: "report")
    monkeypatch.setattr("adamct.report.outputs.wandb_report.log_to_wandb", lambda *arguments: logged.append(arguments))
    write_report(tmp_path, composed(f"logger={logger}").logger.values())
    assert logged == [("report", "adamct", None, "online", tmp_path.name)] * calls
    assert not list(tmp_path.iterdir())
