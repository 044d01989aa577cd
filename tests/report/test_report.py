"""The report, compared with numbers worked out by hand or computed from the ranks."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from adamct.errors import InputError
from adamct.report.__main__ import main
from adamct.report.inputs import paper
from adamct.report.inputs.planned_jobs import not_started
from adamct.report.inputs.runs import find_runs, find_sweeps, read_run
from adamct.report.inputs.titles import MODELS
from adamct.report.outputs.render import latex, markdown
from adamct.report.outputs.report import Report
from adamct.report.outputs.table import Cell, Table
from tests.conftest import Reported
from tests.report.runs import (
    EPOCHS,
    SHA,
    block_of,
    cells_of,
    draw,
    make_report,
    scores,
    table_of,
    validation,
    write_multirun,
    write_run,
)


def rows_of(report: Report) -> list[dict[str, str]]:
    with (report.out / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_numbers_equal_those_computed_from_the_ranks(written: Report) -> None:
    expected_means = {}
    for row in rows_of(written):
        expected = scores(read_run(Path(row["folder"])).ranks, "test")
        assert {name: int(row[f"chosen_epoch/{name}"]) for name in EPOCHS} == EPOCHS
        assert {key: float(row[key]) for key in expected} == pytest.approx(expected)
        expected_means.setdefault(row["model"], []).append(expected)
    assert set(expected_means) == {"sasrec", "core", "adamct"}
    table = cells_of(written.tables[0])
    for model, seed_metrics in expected_means.items():
        row = table[MODELS[model]]
        for metric in ("uni100 recall@1", "uni100 ndcg@5", "full ndcg@10"):
            values = [metrics_of_seed[f"test/{metric.replace(' ', '/')}"] for metrics_of_seed in seed_metrics]
            assert row[metric].text == f"{mean(values):.4f}"
            assert row[metric].spread == f"{stdev(values):.4f}"
        assert row["seeds"].text == "2"


def test_every_file_is_written_and_none_is_partial(written: Report) -> None:
    figures = {f"beauty_{kind}.{end}" for kind in ("claims", "curves", "dots", "served") for end in ("svg", "png")}
    names = {path.name for path in written.out.iterdir() if path.name != "wandb"}
    assert (
        names
        == {path.name for path in written.files}
        == figures | {"results.csv", "table.md", "table.tex", "report.html"}
    )
    assert "uni100" in (written.out.parent / "terminal.txt").read_text()


def example(folder: Path) -> Report:
    """Write a report of SASRec .35, CORE .30 and .32, AdaMCT .36 and .38. The paper has .3424, .3262 and .3554."""
    for model, values in {"sasrec": [0.35], "core": [0.30, 0.32], "adamct": [0.36, 0.38]}.items():
        for seed, value in enumerate(values):
            metrics = {"val/uni100/ndcg@10": 0.5, "test/uni100/ndcg@10": value}
            write_run(folder / f"{model}{seed}", model, seed, metrics=metrics)
    return make_report(folder)


def test_markdown_equals_an_example_worked_by_hand(tmp_path: Path) -> None:
    lines = (example(tmp_path).out / "table.md").read_text().splitlines()
    start = lines.index("|  | seeds | uni100 ndcg@10 |")
    assert lines[start + 2 : start + 6] == [
        "| **AdaMCT** | 2 | **0.3700 ± 0.0141** (*0.3554*) |",
        "| SASRec | 1 | <u>0.3500</u> (*0.3424*) |",
        "| CORE | 2 | 0.3100 ± 0.0141 (*0.3262*) |",
        "| improvement |  | +5.7 % (*+3.8 %*) |",
    ]


def test_latex_equals_the_same_example(tmp_path: Path) -> None:
    text = (example(tmp_path).out / "table.tex").read_text()
    assert r"\begin{tabular}{lrr}" in text
    assert r"\textbf{AdaMCT} & 2 & \textbf{0.3700}\,{\tiny$\pm$\,0.0141} (\textit{0.3554}) \\" in text
    assert r"SASRec & 1 & \underline{0.3500} (\textit{0.3424}) \\" in text
    assert r"improvement &  & +5.7 \% (\textit{+3.8 \%}) \\" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text.count(r"\begin{") == text.count(r"\end{") == 2 * text.count(r"\toprule")


def test_special_characters_are_escaped() -> None:
    table = Table("t", "a_b & c", "", ("x|y", "<b>"), (("50 %", (Cell("1*2", star=True), Cell("#"))),))
    assert r"50 \% & 1*2$^*$ & \#" in latex(table)
    assert r"a\_b \& c." in latex(table)
    assert r"| x\|y | \<b> |" in markdown(table)
    assert r"| 50 % | 1\*2\* | # |" in markdown(table)


def test_each_folder_must_have_a_run(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "core", 1, draw(1, 4.0))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="/nope: there is no such folder"):
        find_runs([tmp_path / "a", tmp_path / "nope"])
    with pytest.raises(InputError, match="/empty: no run"):
        find_runs([tmp_path / "empty", tmp_path / "a"])


@pytest.mark.usefixtures("undrawn", "ascii_locale")
def test_a_report_is_utf8_in_any_locale(tmp_path: Path) -> None:
    paper.read.cache_clear()
    write_run(tmp_path / "a", "core", 1, draw(1, 4.0))
    make_report(tmp_path)
    assert not (tmp_path / "report" / "report.html").read_text(encoding="utf-8").isascii()


def test_the_command_writes_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["report", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    no_run = f"{tmp_path}: no run (a folder with config.yaml) below it; give the folder of a sweep or of runs"
    assert ended.value.code == f"error: {no_run}"
    write_run(tmp_path / "a", "core", 1, draw(1, 4.0))
    main()
    assert "uni100" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.html").exists()


@pytest.mark.slow
def test_a_report_lists_the_jobs_not_started(sweep: Path) -> None:
    write_run(sweep / "hgn-1", "hgn", 1, error="ValueError: no <luck>")
    write_run(sweep / "hgn-2", "hgn", 2)
    write_run(sweep / "sine-1", "sine", 1, pruned=True, metrics={"val/uni100/ndcg@10": 0.1})
    write_multirun(sweep, ["dataset=beauty", "model=sasrec,core,adamct,hgn", "seed=1,2,3"], seed="7,8", model="caser")
    written = make_report(sweep)
    assert written.status == "6 finished, 1 failed, 1 pruned, 1 unfinished, 4 not started"
    assert [row["status"] for row in rows_of(written)].count("finished") == 6
    assert {row["error"] for row in rows_of(written)} == {"", "ValueError: no <luck>"}
    html = (written.out / "report.html").read_text()
    warning = html[html.index('class="warning"') : html.index("<h3>")]  # before all tables
    assert "1 run failed" in warning
    assert "ValueError: no &lt;luck&gt;" in warning
    assert "no <luck>" in (sweep / "terminal.txt").read_text()
    assert str(sweep / "hgn-2") in html
    assert "model=hgn seed=3 dataset=beauty" in html
    assert [label for label, _ in written.tables[0].rows] == ["AdaMCT", "SASRec", "CORE", "improvement"]


def test_a_search_has_no_planned_jobs(sweep: Path) -> None:
    write_multirun(sweep, ["model=hgn", "seed=1,2"], target="some.Search")
    assert not_started(find_sweeps([sweep]), find_runs([sweep])) == []
    write_multirun(sweep, ["model=hgn", "seed=1,2"])
    assert not_started(find_sweeps([sweep]), find_runs([sweep])) == [("model=hgn", "seed=1"), ("model=hgn", "seed=2")]


def test_a_report_without_a_finished_run_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "core", 1)
    written = make_report(tmp_path)
    assert written.blocks == ()
    assert all("No run has finished yet" in (written.out / name).read_text() for name in ("report.html", "table.md"))
    assert rows_of(written)[0]["status"] == "unfinished"


def test_untested_runs_show_validation_metrics(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "core", 1, ended_by="limit")
    table = table_of(block_of(tmp_path))
    assert cells_of(table)["CORE"]["uni100 ndcg@10"].text == f"{validation(1)['val/uni100/ndcg@10']:.4f}"
    assert not any(cell.paper for row in cells_of(table).values() for cell in row.values())
    assert "No run was tested" in table.notes[0]


def test_runs_are_found_once_and_never_within_a_run(sweep: Path) -> None:
    (sweep / "core-1" / "wandb").mkdir()
    (sweep / "core-1" / "wandb" / "config.yaml").touch()
    assert len(find_runs([sweep, sweep / "core-1"])) == 6


class Page(HTMLParser):
    """The tags, attributes and style of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str] = []
        self.style = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.style += data if self.lasttag == "style" else ""


def test_the_page_is_self_contained(written: Report) -> None:
    text = (written.out / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert not any("//" in value for value in page.values)
    assert not re.search(r"url\(\s*['\"]?(?!#)|@import", text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 4
    assert page.tags.count("table") == 7
    assert "prefers-color-scheme: dark" in page.style
    for shown in ("c0ffee", SHA, "torch 2.13.0", "1,234 interactions"):
        assert shown in text
    for shown in (
        "among 100 sampled items the user has not had (uni100), among all 500 items (full), "
        "among all items the user has not had (full_unseen)",
        "its own validation metric (val/uni100/ndcg@10, val/full/ndcg@10, val/full_unseen/ndcg@10)",
    ):
        assert shown in text


def test_wandb_receives_the_tables_and_figures(written: Report, wandb_runs: list[Reported]) -> None:
    import wandb

    from adamct.report.outputs.wandb_report import log_to_wandb

    log_to_wandb(written, "adamct", mode="offline", group="table2")
    (reported,) = wandb_runs
    assert isinstance(reported.logged["tables/beauty"][0], wandb.Table)
    assert isinstance(reported.logged["figures/beauty_curves"][0], wandb.Image)
    assert (reported.run.job_type, reported.run.group) == ("report", "table2")
    assert reported.exit_codes == [0]
    assert len(find_runs([written.out.parent])) == 6  # W&B's own config.yaml is no run


def test_a_refusal_of_wandb_is_a_one_line_error(written: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    from adamct.report.outputs.wandb_report import log_to_wandb

    def refuse(**settings: Any) -> None:
        raise wandb.Error("no key:\nlog in")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(InputError, match=r"^W&B project p: no key: log in; the report itself is in "):
        log_to_wandb(written, "p")
