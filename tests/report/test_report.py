"""The report, compared with numbers worked out by hand or computed from the ranks."""

import csv
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from adamct.errors import InputError
from adamct.report.__main__ import main
from adamct.report.inputs.blocks import make_blocks
from adamct.report.inputs.planned_jobs import not_started
from adamct.report.inputs.runs import find_runs, find_sweeps, read_run
from adamct.report.outputs.render import latex, markdown, show
from adamct.report.outputs.report import Report
from adamct.report.outputs.table import RHO, Cell, Table
from adamct.report.resampling import resample
from adamct.report.sections.comparison import comparison_table
from adamct.report.sections.significance import significance_table
from adamct.report.statistics import compare, holm
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
    write_sweep,
)


def rows_of(report: Report) -> list[dict[str, str]]:
    with (report.out / "results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return write_sweep(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report of a finished sweep, for tests that only read it."""
    folder = write_sweep(tmp_path_factory.mktemp("sweep"))
    return make_report(folder)


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
        for metric in ("uni100 recall@1", "uni100 ndcg@5", "full ndcg@10"):
            values = [metrics_of_seed[f"test/{metric.replace(' ', '/')}"] for metrics_of_seed in seed_metrics]
            assert table[metric][model].text == f"{mean(values):.4f}"
            assert table[metric][model].spread == f"{stdev(values):.4f}"
        assert table["seeds"][model].text == "2"


def test_every_file_is_written_and_none_is_partial(written: Report) -> None:
    figures = {f"beauty_{kind}.{end}" for kind in ("curves", "bars", "served") for end in ("svg", "png")}
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
    start = lines.index("|  | sasrec | core | adamct | improvement |")
    assert lines[start + 2 : start + 6] == [
        "| seeds | 1 | 2 | 2 |  |",
        "| uni100 ndcg@10 | <u>0.3500</u> | 0.3100 ± 0.0141 | **0.3700 ± 0.0141** | +5.7 % |",
        "| paper | *0.3424* | *0.3262* | *0.3554* | *+3.8 %* |",
        "| difference | *+2.2 %* | *-5.0 %* | *+4.1 %* |  |",
    ]


def test_latex_equals_the_same_example(tmp_path: Path) -> None:
    text = (example(tmp_path).out / "table.tex").read_text()
    assert r"\begin{tabular}{lrrrr}" in text
    assert r"seeds & 1 & 2 & 2 &  \\" in text
    assert (
        r"uni100 ndcg@10 & \underline{0.3500} & 0.3100\,{\tiny$\pm$\,0.0141} & "
        r"\textbf{0.3700}\,{\tiny$\pm$\,0.0141} & +5.7 \% \\"
    ) in text
    assert r"paper & \textit{0.3424} & \textit{0.3262} & \textit{0.3554} & \textit{+3.8 \%} \\" in text
    assert r"difference & \textit{+2.2 \%} & \textit{-5.0 \%} & \textit{+4.1 \%} &  \\" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text.count(r"\begin{") == text.count(r"\end{") == 2 * text.count(r"\toprule")


def test_special_characters_are_escaped() -> None:
    table = Table("t", "a_b & c", "", ("x|y", "<b>"), (("50 %", (Cell("1*2", star=True), Cell("#"))),))
    assert r"50 \% & 1*2$^*$ & \#" in latex(table)
    assert r"a\_b \& c." in latex(table)
    assert r"| x\|y | \<b> |" in markdown(table)
    assert r"| 50 % | 1\*2\* | # |" in markdown(table)


def test_only_a_models_single_variant_has_paper_values(tmp_path: Path) -> None:
    for rate in (0.001, 0.01):
        write_run(tmp_path / str(rate), "sasrec", 1, draw(1, 4.0 + rate), keys={"optimizer.lr": rate})
    write_run(tmp_path / "adamct", "adamct", 1, draw(2, 8.0))
    table = table_of(block_of(tmp_path))
    assert table.columns == ("sasrec lr=0.001", "sasrec lr=0.01", "adamct", "improvement")
    paper = next(cells for label, cells in table.rows if label == "paper")
    assert [cell.text for cell in paper] == ["", "", "0.2178", ""]


def test_variant_names_show_the_differing_overrides(tmp_path: Path) -> None:
    keys = [
        {"model.parts.gate._target_": "a.b.Fixed", "model.parts.gate.weight": 0.5, "model.dropout": 0.1},
        {"model.parts.gate._target_": "a.b.Fixed", "model.parts.gate.weight": 0.8, "model.dropout": 0.1},
        {"model.parts.gate._target_": "a.b.Learnt", "model.dropout": 0.2},
    ]
    for index, overrides in enumerate(keys):
        write_run(tmp_path / str(index), "adamct", 1, draw(index, 4.0), keys=overrides)
    assert {variant.name for variant in block_of(tmp_path).variants} == {
        "adamct dropout=0.1 gate=Fixed weight=0.5",
        "adamct dropout=0.1 gate=Fixed weight=0.8",
        "adamct dropout=0.2 gate=Learnt",
    }


def test_many_variants_are_rows(tmp_path: Path) -> None:
    for index in range(13):
        write_run(tmp_path / f"{index}", "hgn", 1, draw(index, 4.0), keys={"model.depth": index})
    table = table_of(block_of(tmp_path))
    assert len(table.rows) == 14
    assert table.columns[:2] == ("seeds", "uni100 recall@1")
    terminal = Console(file=StringIO(), width=80)
    show(table, terminal)
    printed = terminal.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(f"hgn depth={index} " in printed for index in range(13))


def test_adamct_or_the_named_model_is_compared(sweep: Path) -> None:
    assert block_of(sweep).chosen.name == "adamct"
    assert table_of(block_of(sweep, "core")).columns == ("sasrec", "adamct", "core", "improvement")
    with pytest.raises(InputError, match="--model caser: must be one of adamct, core, sasrec"):
        block_of(sweep, "caser")


def test_without_adamct_validation_chooses_the_model(tmp_path: Path) -> None:
    for model, val, test in (("sasrec", 0.3, 0.9), ("hgn", 0.4, 0.1)):
        metrics = {"val/uni100/ndcg@10": val, "test/uni100/ndcg@10": test}
        write_run(tmp_path / model, model, 1, metrics=metrics)
    assert block_of(tmp_path).chosen.name == "hgn"


def test_holm_equals_an_example_worked_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_comparisons_equal_tests_of_the_raw_vectors(sweep: Path) -> None:
    tests = {(test.metric.short, test.other): test for test in compare(block_of(sweep))}
    assert len(tests) == 6

    def gains(model: str, seed: int) -> np.ndarray:
        with np.load(sweep / f"{model}-{seed}" / "ranks.npz") as ranks:
            return np.where(ranks["full"] <= 10, 1 / np.log2(ranks["full"] + 1.0), 0.0)

    differences = np.array([gains("adamct", seed) - gains("sasrec", seed) for seed in (1, 2)])
    test = tests["full/ndcg@10", "sasrec"]
    assert (test.low, test.high, test.p) == pytest.approx(resample([differences])[0])
    assert test.difference == pytest.approx(differences.mean())
    assert test.low < test.difference < test.high
    assert (test.seeds, test.users) == (2, 200)
    assert test.wins == sum(gains("adamct", seed).mean() > gains("sasrec", seed).mean() for seed in (1, 2))
    pair = [tests["full/ndcg@10", other] for other in ("sasrec", "core")]
    assert [test.p_holm for test in pair] == pytest.approx(holm([test.p for test in pair]))


def test_stars_mark_significant_differences(tmp_path: Path) -> None:
    for seed, (model, strength) in enumerate((("sasrec", 4.0), ("core", 40.0), ("adamct", 40.0))):
        write_run(tmp_path / model, model, 1, draw(seed, strength))
    block = block_of(tmp_path)
    tests = compare(block)
    cells = [(label, column, cell) for label, row in cells_of(table_of(block)).items() for column, cell in row.items()]
    starred = {(label.replace(" ", "/"), column) for label, column, cell in cells if cell.star}
    assert starred == {(test.metric.short, test.other) for test in tests if test.p_holm < 0.05}
    assert {column for _, column in starred} == {"sasrec"}
    assert not any(cell.star for _, row in comparison_table(block, ()).rows for cell in row)


def test_notes_give_the_agreement_of_each_two_rankings(written: Report) -> None:
    notes = next(table for table in written.tables if table.name == "beauty_rankings").notes
    pairs = [note.partition(":")[0] for note in notes[1:]]
    assert pairs == ["uni100 and full", "uni100 and full_unseen", "full and full_unseen"]
    assert notes[1].endswith(f"Kendall's τ = 1.00, Spearman's {RHO} = 1.00.")


def test_another_metric_is_tested_besides_ndcg(sweep: Path) -> None:
    tested = {test.metric.short for test in compare(block_of(sweep, metric="test/full/recall@5"))}
    assert tested == {f"{ranking}/{name}" for ranking in EPOCHS for name in ("ndcg@10", "recall@5")}
    with pytest.raises(InputError, match="--metric full/recall@7"):
        block_of(sweep, metric="test/full/recall@7")


def test_only_means_over_users_can_be_tested(tmp_path: Path) -> None:
    metrics = {"val/uni100/ndcg@10": 0.5, "test/uni100/ndcg@10": 0.4, "test/full/gini@10": 0.9}
    write_run(tmp_path / "a", "core", 1, metrics=metrics)
    with pytest.raises(InputError, match=r"--metric full/gini@10: must be one of uni100/ndcg@10 on beauty$"):
        block_of(tmp_path, metric="full/gini@10")


def test_users_without_a_test_item_are_left_out(tmp_path: Path) -> None:
    for model, strength in (("core", 3.0), ("adamct", 6.0)):
        ranks = {name: np.where(np.arange(200) < 50, 0, values) for name, values in draw(1, strength).items()}
        write_run(tmp_path / model, model, 1, ranks)
    assert {test.users for test in compare(block_of(tmp_path))} == {150}


def test_variants_without_a_common_seed_are_not_tested(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "adamct", 1, draw(1, 4.0))
    write_run(tmp_path / "b", "core", 2, draw(2, 4.0))
    block = block_of(tmp_path)
    assert compare(block) == []
    table = significance_table(block, [])
    assert table is not None
    assert table.notes[-1] == "Not compared, because no tested seed is in common: core."


@pytest.mark.parametrize(
    ("difference", "named"),
    [
        ({"sha256": "1" * 64}, "dataset.sha256"),
        ({"keys": {"dataset.negatives.count": 20}}, "dataset.negatives.count"),
        ({"keys": {"dataset.negatives.exclude": "target"}}, "dataset.negatives.exclude"),
        ({"dataset": "toys"}, None),
    ],
)
def test_runs_under_another_protocol_are_refused(sweep: Path, difference: dict[str, Any], named: str | None) -> None:
    write_run(sweep / "other", "hgn", 1, draw(1, 3.0), **difference)
    if named is None:
        assert len(make_blocks(find_runs([sweep]), None, None)) == 2
        return
    with pytest.raises(InputError) as refused:
        make_report(sweep)
    line = str(refused.value)
    assert all(word in line for word in (named, str(sweep / "other"), str(sweep / "adamct-1")))
    assert "\n" not in line
    assert not (sweep / "report").exists()


def test_two_runs_with_the_same_seed_are_refused(sweep: Path) -> None:
    write_run(sweep / "again", "core", 2, draw(9, 3.0))
    with pytest.raises(InputError, match=r"again and .*core-2 are the same experiment with the same seed=2"):
        block_of(sweep)


def test_the_command_writes_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["report", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == f"error: no run (a folder with config.yaml) below {tmp_path}"
    write_run(tmp_path / "a", "core", 1, draw(1, 4.0))
    main()
    assert "uni100" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.html").exists()


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
    assert "ValueError: no &lt;luck&gt;" in html
    assert str(sweep / "hgn-2") in html
    assert "model=hgn seed=3 dataset=beauty" in html
    assert not any("sine" in column for column in written.tables[0].columns)


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
    assert cells_of(table)["uni100 ndcg@10"]["core"].text == f"{validation(1)['val/uni100/ndcg@10']:.4f}"
    assert "paper" not in cells_of(table)
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
    assert page.tags.count("svg") == 3
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
