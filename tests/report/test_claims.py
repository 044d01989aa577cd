"""The paper's claims in a report: the verdicts, the table, the figure and the summary."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from adamct.report.build import comparisons_of, report
from adamct.report.sections.claims import claims_of, claims_summary, claims_table
from adamct.report.sections.claims_figure import MARKS, claims_figure
from adamct.report.sections.comparison import comparison_table
from adamct.report.sections.limits import banner
from adamct.report.statistics import compare
from tests.report.runs import block_of, cells_of, draw, texts, write_cases, write_run


@pytest.fixture
def ablations(tmp_path: Path) -> Path:
    """Write runs of a full model, a much weaker one, a much stronger one and an equal one, in this order of cases."""
    strengths = {"full": 8.0, "without mixture": 2.0, "without local SEAtt": 40.0, "without global SEAtt": 8.0}
    for index, (label, strength) in enumerate(strengths.items()):
        keys = {"label": label, "model.parts": index}
        write_run(tmp_path / str(9 - index), "adamct", 1, draw(index, strength, users=1000), keys=keys)
    write_cases(tmp_path, list(strengths))
    return tmp_path


def test_the_first_case_is_compared_with_the_others(ablations: Path) -> None:
    names = [variant.name for variant in block_of(ablations).variants]
    assert names == [
        "full",
        "without mixture",
        "without local SEAtt",
        "without global SEAtt",
    ]


def test_claims_hold_are_contradicted_or_undecided(ablations: Path) -> None:
    block = block_of(ablations)
    table = claims_table(block, claims_of(block, compare(block)))
    assert table is not None
    cells = texts(table)
    verdicts = {label: (row[0], *row[2::2]) for label, row in cells.items()}
    assert verdicts == {
        "without mixture": ("above 0", "holds", "holds", "holds"),
        "without local SEAtt": ("above 0", "contradicted", "contradicted", "contradicted"),
        "without global SEAtt": ("above 0", "not decided", "not decided", "not decided"),
    }
    for test in compare(block):
        column = {"uni100": 1, "full": 3, "full_unseen": 5}[test.metric.ranking]
        assert cells[test.other][column] == f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f})"
    assert "holds: 1" in table.title
    assert "It does not know how much trainings differ" in table.notes[-1]
    assert "cut short" not in " ".join(table.notes)
    assert "paper" not in " ".join(comparison_table(block, ()).notes).lower()


def test_a_run_that_a_limit_ended_is_not_judged(tmp_path: Path) -> None:
    for model, strength, ended_by in (
        ("sasrec", 2.0, "limit"),
        ("core", 2.0, "patience"),
        ("hgn", 2.0, "nothing to train"),
        ("adamct", 40.0, "patience"),
    ):
        write_run(tmp_path / model, model, 1, draw(1, strength, users=1000), ended_by=ended_by)
    block = block_of(tmp_path)
    table = claims_table(block, claims_of(block, compare(block)))
    assert table is not None
    assert {label: set(cells[2::2]) for label, cells in texts(table).items()} == {
        "SASRec": {"cut short"},
        "CORE": {"holds"},
        "HGN": {"holds"},
    }
    assert "Cut short: a limit of epochs, steps or time ended a run of this comparison" in " ".join(table.notes)
    assert banner(block) == (
        "At most 3 epochs: 1 of 4 runs did not stop by themselves (SASRec); still rising: 1. This accuracy is not "
        "final, and no claim is judged by it."
    )
    assert [label for label, _ in comparison_table(block, ()).rows] == ["AdaMCT", "SASRec", "HGN", "CORE"]


def test_labelled_variants_show_their_paper_values(tmp_path: Path) -> None:
    for index, label in enumerate(("adaptive both", "fixed 0.8 local 0.2 global", "my own")):
        write_run(tmp_path / label, "adamct", 1, draw(index, 4.0), keys={"label": label})
    write_cases(tmp_path, ["adaptive both"])
    block = block_of(tmp_path)
    table = comparison_table(block, ())
    shown = {label: row["uni100 ndcg@10"].paper for label, row in cells_of(table).items()}
    assert shown == {"adaptive both": "0.3554", "fixed 0.8 local 0.2 global": "0.3484", "my own": ""}
    assert "In brackets: Table 3 of" in " ".join(table.notes)
    claims = claims_table(block, claims_of(block, compare(block)))
    assert claims is not None
    assert texts(claims)["fixed 0.8 local 0.2 global"][0] == "+0.0070"


@pytest.mark.usefixtures("undrawn")
def test_a_report_of_a_study_has_its_claims(ablations: Path) -> None:
    with (ablations / "terminal.txt").open("w") as file:
        written = report([ablations], ablations / "report", console=Console(file=file, width=200))
    assert [table.name for table in written.tables][:2] == ["beauty", "beauty_claims"]
    assert "contradicted" in (written.out / "report.html").read_text()


def test_the_figure_has_each_difference_and_the_papers(ablations: Path) -> None:
    block = block_of(ablations)
    claims = claims_of(block, compare(block))
    drawing = claims_figure(block, claims)
    assert drawing is not None
    panels = drawing.figure.axes
    assert len(panels) == 3
    for axes, ranking in zip(panels, ("uni100", "full", "full_unseen"), strict=True):
        marks = {(line.get_xdata()[0], line.get_ydata()[0]): line.get_marker() for line in axes.lines[1:]}  # pyright: ignore
        for place, claim in enumerate(claims):
            assert marks.pop((claim.tests[ranking].difference, place)) == MARKS[claim.verdict(ranking)].marker
        # The paper only has the signs of these differences, and only in its own ranking.
        assert marks == ({(0.0, place + 0.27): ">" for place in range(3)} if ranking == "uni100" else {})
    assert legend_of(drawing.figure) == ["holds", "contradicted", "not decided", "the paper: above 0"]


def legend_of(figure: Figure) -> list[str]:
    """Return the labels of a figure's legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_papers_difference_is_drawn_to_scale(tmp_path: Path) -> None:
    for model in ("adamct", "sasrec"):
        write_run(tmp_path / model, model, 1, draw(1, 4.0))
    block = block_of(tmp_path)
    drawing = claims_figure(block, claims_of(block, compare(block)))
    assert drawing is not None
    (diamond,) = (line for line in drawing.figure.axes[0].lines if line.get_marker() == "D")
    assert diamond.get_xdata()[0] == pytest.approx(0.3554 - 0.3424)  # pyright: ignore[reportIndexIssue]
    assert legend_of(drawing.figure) == ["not decided", "the paper"]


def test_a_summary_counts_the_verdicts_of_several_studies(ablations: Path, tmp_path: Path) -> None:
    block = block_of(ablations)
    claims = claims_of(block, comparisons_of(block))
    assert claims_summary({"Beauty": claims}) is None
    assert claims_summary({"Beauty": claims, "Order": []}) is None
    table = claims_summary({"Beauty": claims, "Order": [], "Toys": claims[:1]})
    assert table is not None
    assert texts(table) == {
        "Beauty": ["3", *["holds: 1, contradicted: 1, not decided: 1"] * 3],
        "Toys": ["1", *["holds: 1"] * 3],
    }


@pytest.mark.usefixtures("undrawn")
def test_a_report_of_two_studies_begins_with_the_summary(tmp_path: Path) -> None:
    for dataset in ("beauty", "toys"):
        for model in ("adamct", "sasrec"):
            write_run(tmp_path / dataset / model, model, 1, draw(1, 4.0), dataset)
    with (tmp_path / "terminal.txt").open("w") as file:
        written = report([tmp_path], tmp_path / "report", console=Console(file=file, width=200))
    assert [table.name for table in written.tables][:2] == ["claims", "beauty"]
    assert written.title == "Beauty, Toys"
    assert "Which of the paper's comparisons hold" in (tmp_path / "terminal.txt").read_text()
