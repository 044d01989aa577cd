"""Reports of damaged folders: they name each damage, keep all other runs, and never end in a traceback."""

import json
import re
import shutil
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from adamct.errors import InputError
from adamct.evaluation.storage import stored
from adamct.report.build import report
from adamct.report.inputs.planned_jobs import not_started
from adamct.report.inputs.runs import find_runs, find_sweeps, read_run
from adamct.report.outputs.report import Report
from adamct.runs.folder import write_arrays
from adamct.sweeps.callback import REPORT_ERROR, write_report
from tests.report.damage import CONTENTS, Damage, damaged_arrays, damages, write_damaged, write_folder
from tests.report.runs import block_of, draw, write_run

RANKINGS = ("uni100", "full", "full_unseen")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a sweep, other runs and a search. Tests may copy or read it."""
    return write_folder(tmp_path_factory.mktemp("runs") / "whole")


def reported(folder: Path) -> tuple[Report, str]:
    """Write the report of a folder. Return it and the printed text."""
    terminal = StringIO()
    return report([folder], folder / "report", console=Console(file=terminal, width=400)), terminal.getvalue()


@pytest.mark.usefixtures("undrawn")
def test_a_report_names_damaged_runs_and_leaves_them_out(whole: Path, tmp_path: Path) -> None:
    case = tmp_path / "case"
    write_damaged(
        case, whole, Damage(whole / "adamct" / "results.json", "cut", lambda path: path.write_bytes(b'{"met'))
    )
    (case / "failed" / ".hydra" / "overrides.yaml").write_text("a: [")
    (case / "multirun.yaml").write_text("{")
    (case / "search" / "study.log").write_bytes(b"{}\n{}\n")
    (case / "core" / "ranks.npz").unlink()
    written, printed = reported(case)
    assert written.status == "4 finished, 1 unfinished, 2 damaged"
    page = (written.out / "report.html").read_text()
    assert "<b>Damaged files, which are left out:</b>" in page
    for name in ("adamct/results.json", "failed/.hydra/overrides.yaml", "multirun.yaml", "search/multirun.yaml"):
        (line,) = [line for line in written.damages if line.startswith(f"{case / name}: damaged or unexpected (")]
        assert line.endswith("); run the command again, or remove the folder")
        assert f"damaged: {line}" in printed.splitlines()
        assert str(case / name) in page
    assert "Some seeds are not compared, because their ranks.npz is missing: CORE." in page
    assert str(case / "adamct") in (written.out / "results.csv").read_text()
    assert not (case / "report" / "beauty_tests.svg").exists()


def test_a_report_fails_if_no_run_can_be_read(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "core", 1, draw(1, 4.0))
    (tmp_path / "a" / "results.json").write_text("[]")
    with pytest.raises(
        InputError,
        match=r"^no run can be read: .*/a/results.json: damaged or unexpected \(Input should be a valid dictionary",
    ):
        reported(tmp_path)
    assert not (tmp_path / "report").exists()


def test_ranks_that_contradict_the_record_are_damaged(whole: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "core", 1, draw(5, 5.0))
    file = folder / "ranks.npz"
    assert read_run(folder).status == "finished"
    for damage in damaged_arrays(file):
        kept = file.read_bytes()
        damage.act(file)
        run = read_run(folder)
        assert (run.status, damage.kind) == ("damaged", damage.kind)
        assert run.error.startswith(f"{file}: damaged or unexpected (")
        file.write_bytes(kept)
    assert read_run(folder).status == "finished"


def test_any_file_content_is_read_or_refused(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "case")
    counts: Counter[str] = Counter()
    for name in ("adamct/results.json", "adamct/coefficients.npz", "failed/.hydra/hydra.yaml", "failed/config.yaml"):
        file = tmp_path / "case" / name
        for content in CONTENTS:
            file.write_bytes(content)
            counts[f"{name} {read_run(tmp_path / 'case' / name.partition('/')[0]).status}"] += 1
        file.write_bytes((whole / name).read_bytes())
    assert counts == {
        "adamct/results.json damaged": len(CONTENTS),
        "adamct/coefficients.npz damaged": len(CONTENTS),
        "failed/.hydra/hydra.yaml damaged": len(CONTENTS) - 3,
        "failed/.hydra/hydra.yaml failed": 3,  # b"", b"\n" and b"null" count as not written yet
        "failed/config.yaml damaged": len(CONTENTS) - 4,
        "failed/config.yaml failed": 4,  # and b"{}" is a config
    }


@pytest.mark.usefixtures("undrawn")
def test_unfinished_runs_are_reported(tmp_path: Path) -> None:
    write_run(tmp_path / "done", "core", 1, draw(1, 4.0))
    started = write_run(tmp_path / "started", "core", 2)
    (started / ".hydra" / "hydra.yaml").write_text("")  # opened, and not filled yet
    (started / "config.yaml").unlink()
    (started / ".results.json").write_text("{")
    write_arrays(started / "ranks.npz", stored(draw(1, 4.0)))  # which come before the record
    (tmp_path / "multirun.yaml").write_text("")
    for _ in range(2):  # the second time, the first report is in the folder
        written, _ = reported(tmp_path)
        assert written.status == "1 finished, 1 unfinished"
        assert written.damages == ()


def test_a_finished_run_needs_only_its_record(whole: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "core", 1, draw(1, 4.0), keys={"model.depth": 2})
    (folder / "config.yaml").unlink()
    (folder / ".hydra" / "hydra.yaml").write_text("{")
    (folder / ".hydra" / "overrides.yaml").write_text("{")
    (run,) = find_runs([tmp_path])
    assert (run.status, run.model, run.config["model.depth"]) == ("finished", "core", 2)
    assert "model.depth=2" in run.overrides


def test_a_damaged_run_counts_as_started(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "core", 1, draw(1, 4.0))
    (folder / "results.json").write_text("{")
    hydra = {"sweeper": {"_target_": "some.Cases", "jobs": [["dataset=beauty", "model=core", "seed=1"], ["seed=2"]]}}
    (tmp_path / "multirun.yaml").write_text(json.dumps({"hydra": hydra}))
    assert not_started(find_sweeps([tmp_path]), find_runs([tmp_path])) == [("seed=2",)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dataset.sha256", "1" * 64),
        ("dataset.num_users", 199),
        ("config.dataset.negatives.count", 20),
        ("config.dataset.negatives.seed", 7),
    ],
)
def test_a_record_that_contradicts_its_identity_is_damaged(tmp_path: Path, key: str, value: Any) -> None:
    folder = write_run(tmp_path / "a", "core", 1, draw(1, 4.0))
    record = json.loads((folder / "results.json").read_text())
    *parents, last = key.split(".")
    inner = record
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    (folder / "results.json").write_text(json.dumps(record))
    run = read_run(folder)
    assert run.status == "damaged"
    assert f"{key.removeprefix('config.')} is {value}, but" in run.error


@pytest.mark.usefixtures("undrawn")
def test_a_failed_report_does_not_end_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", "core", 1, draw(1, 4.0))
    with monkeypatch.context() as patch:
        patch.setattr("adamct.report.build.page", lambda **_: 1 / 0)
        write_report(tmp_path, [])
    trace = tmp_path / REPORT_ERROR
    line = (
        f"no report: ZeroDivisionError division by zero; the traceback is in {trace}; "
        f"to try again: python -m adamct.report {tmp_path}\n"
    )
    assert capsys.readouterr().err == line
    assert "Traceback" in trace.read_text()
    write_report(tmp_path, [])
    assert (tmp_path / "report" / "report.html").exists()
    assert not trace.exists()


def test_an_unwritable_folder_is_a_one_line_error(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "core", 1, metrics={"val/uni100/ndcg@10": 0.5})
    (tmp_path / "report").write_text("")
    with pytest.raises(
        InputError, match=r"/report: the report cannot be written there \(File exists\); give --out another folder$"
    ):
        reported(tmp_path)


def test_coefficients_without_a_test_item_are_ignored(tmp_path: Path) -> None:
    from adamct.report.sections.mixtures import by_kind

    folder = write_run(tmp_path / "a", "adamct", 1, draw(1, 4.0))
    alpha, kind = np.repeat([0.25, 0.75, np.nan], [50, 50, 100]), np.repeat([True, False, True], [50, 50, 100])
    write_arrays(folder / "coefficients.npz", {"layer1": alpha, "taste-driven": kind})
    table, _ = by_kind(block_of(tmp_path))
    assert [cell.text for cell in table.rows[0][1]] == ["taste-driven", "0.250", "0.750", "1.000"]  # pyright: ignore


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_no_damaged_file_ends_a_report(whole: Path, tmp_path: Path) -> None:
    case = tmp_path / "case"
    write_damaged(case, whole, Damage(whole / "multirun.yaml", "none", Path.touch))
    statuses = {run.folder: run.status for run in reported(case)[0].runs}
    counts: Counter[str] = Counter()
    failures = []
    for damage in list(damages(whole, draws=6))[::3]:
        file = write_damaged(case, whole, damage)
        try:
            written, printed = reported(case)
        except Exception as error:
            failures.append(f"{file.relative_to(case)} {damage.kind}: {error!r}")
            continue
        folder_of_run = next((folder for folder in file.parents if folder in statuses), None)
        others = {run.folder: run.status for run in written.runs if run.folder != folder_of_run}
        if others != {folder: status for folder, status in statuses.items() if folder != folder_of_run}:
            failures.append(f"{file.relative_to(case)} {damage.kind}: loses other runs: {written.status}")
        after = next((run.status for run in written.runs if run.folder == folder_of_run), "a sweep")
        named = bool(re.search(f"damaged: {re.escape(str(file.parent))}", printed))
        if after == "damaged" and not named:
            failures.append(f"{file.relative_to(case)} {damage.kind}: is not named")
        counts[f"{after}{' that is named' if named else ''}"] += 1
    print(dict(counts), len(failures))
    assert not failures
    assert sum(counts.values()) > 1000
