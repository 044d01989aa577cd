"""The record of results: its addresses, its report, and what it refuses."""

import json
from pathlib import Path

import pytest

from adamct.errors import InputError
from adamct.report.build import assemble
from adamct.report.inputs.runs import find_runs
from adamct.runs.folder import finished_before
from benchmarks.record import copy, restore
from tests.report.runs import draw, kinds_of_users, texts, write_multirun, write_run, write_sweep


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tables(folder: Path) -> list[object]:
    report, *_ = assemble([folder], folder / "report", None, None)
    return [(table.title, texts(table), table.notes) for table in report.tables]


def write_study(folder: Path, name: str, labels: list[str]) -> None:
    for label in labels:
        run = write_run(
            folder / label, "adamct", 1, draw(len(label), 6.0), keys={"label": label}, facts=kinds_of_users()
        )
        results = json.loads((run / "results.json").read_text())
        results["choices"]["sweep"] = name
        (run / "results.json").write_text(json.dumps(results))
    write_multirun(folder, ["dataset=beauty", f"label={','.join(labels)}", "seed=1"])


@pytest.mark.usefixtures("undrawn")
def test_a_copy_has_the_tables_of_the_originals(tmp_path: Path) -> None:
    write_sweep(tmp_path / "out" / "beauty")
    write_study(tmp_path / "out" / "table3", "table3", ["one", "first"])
    changed, left_out = copy([tmp_path / "out"], tmp_path / "record")
    assert len(changed) == 8
    assert left_out == []
    names = ["beauty/adamct/1/ranks.npz", "beauty/facts.npz", "table3/beauty/adamct_first/1/results.json"]
    assert files(tmp_path / "record").keys() >= {*names, "table3/multirun.yaml"}
    for study in (".", "table3"):
        assert tables(tmp_path / "record" / study) == tables(tmp_path / "out" / study)
    titles = [str(title) for title, *_ in tables(tmp_path / "record")]  # pyright: ignore[reportGeneralTypeIssues]
    assert any(title.startswith("Table 3 on Beauty: ") for title in titles)
    assert [len(run.facts) for run in find_runs([tmp_path / "record"])] == [2] * 8


def test_a_second_copy_changes_only_continued_runs(tmp_path: Path) -> None:
    ranks = draw(1, 4.0)
    write_run(tmp_path / "out" / "a", "core", 1, ranks, facts=kinds_of_users())
    write_run(tmp_path / "out" / "b", "hgn", 1)
    (address,), (line,) = copy([tmp_path / "out"], tmp_path / "record")
    assert (address, line) == (tmp_path / "record/beauty/core/1", f"{tmp_path}/out/b (unfinished)")
    before = files(tmp_path / "record")
    assert copy([tmp_path / "out"], tmp_path / "record")[0] == []
    assert files(tmp_path / "record") == before
    file = tmp_path / "out" / "a" / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"ended_by": "limit"}))
    assert copy([tmp_path / "out"], tmp_path / "record")[0] == [address]


def test_the_record_has_no_path_of_the_machine(tmp_path: Path) -> None:
    places = {"dataset.path": f"{tmp_path}/log", "data_dir": "/disk", "dataset.download.folder": "/disk"}
    write_run(tmp_path / "out" / "a", "core", 1, draw(1, 4.0), keys=places)
    write_study(tmp_path / "out" / "table3", "table3", ["one"])
    write_multirun(tmp_path / "out" / "table3", ["label=one", "data_dir=/disk", f"dataset.path={tmp_path}/log"])
    copy([tmp_path / "out"], tmp_path / "record")
    texts = [content.decode() for name, content in files(tmp_path / "record").items() if not name.endswith(".npz")]
    assert len(texts) == 3
    assert not any(str(tmp_path) in text or "/disk" in text for text in texts)


def test_restored_runs_have_finished_and_are_those_of_the_record(tmp_path: Path) -> None:
    data, out, record = tmp_path / "data", tmp_path / "out", tmp_path / "record"
    path = {"dataset.path": f"{data}/beauty.txt"}
    original = write_run(out / "beauty" / "model=core,seed=1", "core", 1, draw(1, 4.0), keys=path)
    write_study(out / "table3", "table3", ["one"])
    copy([out], record)
    before = files(record)
    config = json.loads((original / "results.json").read_text())["config"]
    folders = restore(record, data, tmp_path / "new")
    assert sorted(folder.relative_to(tmp_path / "new") for folder in folders) == [
        Path("beauty/model=core,seed=1"),
        Path("table3/dataset=beauty,label=one,model=adamct,seed=1"),
    ]
    assert finished_before(tmp_path / "new/beauty/model=core,seed=1", config)
    assert restore(record, data, tmp_path / "new") == []
    assert copy([tmp_path / "new"], record)[0] == []
    assert files(record) == before


def test_another_run_at_an_address_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "core", 1, draw(1, 4.0))
    copy([tmp_path / "a"], tmp_path / "record")
    before = files(tmp_path / "record")
    write_run(tmp_path / "b", "core", 1, draw(2, 4.0), sha256="1" * 64)
    with pytest.raises(InputError, match=rf"dataset.sha256={'1' * 64}, but {'0' * 64} in .*record/beauty/core/1"):
        copy([tmp_path / "b"], tmp_path / "record")
    write_run(tmp_path / "c", "core", 1, draw(2, 4.0))
    with pytest.raises(InputError, match=r"both belong in .*record/beauty/core/1: leave out one"):
        copy([tmp_path / "a", tmp_path / "c"], tmp_path / "record")
    file = tmp_path / "c" / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"git_commit": "decaf"}))
    with pytest.raises(InputError, match=r"commit decaf, but c0ffee in .*record/beauty/core/1"):
        copy([tmp_path / "c"], tmp_path / "record")
    assert files(tmp_path / "record") == before


def test_facts_of_other_test_items_damage_a_run(tmp_path: Path) -> None:
    write_run(tmp_path / "beauty" / "a", "core", 1, draw(1, 4.0))
    other = write_run(tmp_path / "b", "core", 1, draw(2, 4.0), sha256="1" * 64, facts=kinds_of_users())
    (other / "facts.npz").rename(tmp_path / "beauty" / "facts.npz")
    (run,) = find_runs([tmp_path / "beauty"])
    assert "it holds the facts of other test items" in run.error
    (run,) = find_runs([tmp_path / "beauty" / "a"])
    assert (run.status, run.facts) == ("finished", {})
