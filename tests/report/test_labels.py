"""Odd labels and comparisons without a difference: each output shows the labels, and no report fails."""

import csv
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from adamct.report.inputs.names import LONGEST, file_names, label_of, numbered
from adamct.report.inputs.planned_jobs import planned_labels
from adamct.report.inputs.runs import Sweep, find_runs
from adamct.report.inputs.variants import group
from adamct.report.outputs.render import plain_markdown
from adamct.report.outputs.report import Report
from adamct.report.outputs.style import styled
from adamct.report.resampling import resample
from adamct.report.sections.search import complete, draw_slice
from adamct.report.statistics import compare
from tests.report.runs import block_of, draw, make_report, scores, write_run

LABELS = {
    "16,32": "16,32",
    "true,false": "true,false",
    "$x_$": "$x_$",
    "$\\frac{1}{2$": "$\\frac{1}{2$",
    "a_b & 50 % #1 ~^{}": "a_b & 50 % #1 ~^{}",
    "x|y": "x|y",
    "<b>&amp;</text><script>": "<b>&amp;</text><script>",
    '" id="text_1" #1f2328': '" id="text_1" #1f2328',
    "**bold** `code` [link](x)": "**bold** `code` [link](x)",
    "[red]rich[/red] [/x]": "[red]rich[/red] [/x]",
    "two\nlines\tand \x1b[31m\0": "two lines and  [31m",
    "中文 ünï 😀": "中文 ünï 😀",
    "\N{RIGHT-TO-LEFT OVERRIDE}left": "left",
    "long " * 100: None,  # shortened
    "": "",
    " ": "",
    "nan": "nan",
    None: "",
    3: "3",
    1.5: "1.5",
    True: "true",
}
"""Labels in a config, and their shown text; None for a shortened one."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return a report with a variant for each odd label."""
    folder = tmp_path_factory.mktemp("odd [") / "x] $a_$"  # rich would read this name as a tag
    write_run(folder / "sasrec", "sasrec", 1, draw(0, 3.0))
    for index, label in enumerate(LABELS):
        # The first variants are the best by validation, so the figures show them.
        ranks = draw(index + 1, 4.0)
        metrics = scores(ranks, "test") | {"val/uni100/ndcg@10": 0.9 - index / 100}
        write_run(folder / str(index), "adamct", 1, ranks, keys={"label": label}, metrics=metrics)
    return make_report(folder)


def names_of(report: Report) -> list[str]:
    """Return the names of AdaMCT's variants in a report on one dataset."""
    (block,) = report.blocks
    return [variant.name for variant in block.variants if variant.model == "adamct"]


def test_variant_names_are_distinct_and_have_the_label(odd: Report) -> None:
    assert odd.status == f"{len(LABELS) + 1} finished"
    names = names_of(odd)
    assert len(set(names)) == len(names) == len(LABELS)
    for shown in filter(None, LABELS.values()):
        assert f"AdaMCT {shown}" in names
    assert max(map(len, names)) == LONGEST
    assert all(name.isprintable() for name in names)


def test_markdown_has_a_cell_for_each_column(odd: Report) -> None:
    text = (odd.out / "table.md").read_text()
    assert r"| AdaMCT x\|y |" in text
    assert r"AdaMCT \<b>\&amp;\</text>\<script> |" in text
    assert r"AdaMCT \$x\_\$ |" in text
    assert r"AdaMCT \*\*bold\*\* \`code\` \[link\](x) |" in text
    tables = [lines for lines in text.split("\n\n") if lines.startswith("|")]
    assert len(tables) == len(odd.tables)
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines.splitlines()}) == 1
    assert [line.startswith(("| AdaMCT", "| **AdaMCT")) for line in tables[0].splitlines()].count(True) == len(LABELS)


def test_latex_is_balanced(odd: Report) -> None:
    text = (odd.out / "table.tex").read_text()
    plain = re.sub(r"\\[\\{}$&%#_]", "", text.replace(r"\\", ""))
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert r"AdaMCT \$x\_\$ &" in text
    assert r"AdaMCT a\_b \& 50 \% \#1 \textasciitilde{}\textasciicircum{}\{\} &" in text
    assert "\n[" not in text


class Texts(HTMLParser):
    """The texts and tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_page_and_figures_show_every_name(odd: Report) -> None:
    page = Texts()
    page.feed((odd.out / "report.html").read_text())
    assert "script" not in page.tags
    for name in names_of(odd):
        assert page.texts.count(name) >= 2
    drawn = names_of(odd)[:5]
    for figure in ("dots", "curves"):
        texts = {"".join(element.itertext()).strip() for element in svg_texts(odd.out / f"beauty_{figure}.svg")}
        assert {"AdaMCT $x_$", "AdaMCT 16,32", 'AdaMCT " id="text_1" #1f2328'} <= texts
        assert matplotlib.image.imread(odd.out / f"beauty_{figure}.png").shape[1] < 4000
    assert len(drawn) == 5
    assert page.texts.count('AdaMCT " id="text_1" #1f2328') >= 4  # and in both figures as it is


def svg_texts(path: Path) -> Iterator[ElementTree.Element]:
    """Return the text elements of a figure."""
    return ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")


def test_csv_has_a_row_with_the_label_of_each_run(odd: Report) -> None:
    with (odd.out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(LABELS) + 1
    assert {row["label"] for row in rows} >= {"16,32", "two\nlines\tand \x1b[31m\0", "null", "3", "true"}
    assert all(row["status"] == "finished" for row in rows)


def test_the_terminal_prints_labels_unchanged(odd: Report) -> None:
    printed = (odd.out.parent / "terminal.txt").read_text()
    assert "AdaMCT [red]rich[/red] [/x]" in printed
    assert f"report: {odd.out}/report.html" in printed


@pytest.mark.usefixtures("undrawn")
def test_a_folder_name_may_be_invalid_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this disk has only names that are texts")
    write_run(folder / "a", "core", 1, draw(1, 4.0))
    assert make_report(folder).status == "1 finished"


def test_planned_labels_equal_the_labels_of_runs() -> None:
    overrides = [
        "label=16,32",
        "label='16,32'",
        "label=true",
        "label=null",
        "label=3",
        "label=[a,b]",
        "label=(",
        "label=1e3",
    ]
    sweep = Sweep(Path(), {"hydra": {"sweeper": {"jobs": [[override] for override in overrides] + [["seed=1"]]}}})
    assert planned_labels([sweep]) == ["16,32", "true", None, "3", '["a", "b"]', "(", "1000.0"]
    assert [label_of(value) for value in ("16,32", True, None, 3, ["a", "b"], "(", 1e3)] == planned_labels([sweep])


def test_missing_keys_distinguish_variants(tmp_path: Path) -> None:
    for index, keys in enumerate(({}, {"model.extra": 1}, {"model.other": 1})):
        folder = write_run(tmp_path / str(index), "adamct", 1, draw(index, 4.0), keys=keys)
        record = json.loads((folder / "results.json").read_text())
        (folder / "results.json").write_text(json.dumps(record | {"overrides": []}))
    assert len({variant.name for variant in block_of(tmp_path).variants}) == 3


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=6))
def test_file_names_are_distinct_and_valid(names: list[str]) -> None:
    files = file_names(names)
    assert len(set(files)) == len(files) == len(names)
    assert all(re.fullmatch(r"[\w.@=,+-]*", name, re.ASCII) and len(name) < 140 for name in files)
    assert len(set(numbered(names))) == len(names)


def test_ticks_of_a_logarithmic_axis_are_plain_numbers(tmp_path: Path) -> None:
    distribution = optuna.distributions.FloatDistribution(1e-6, 1.0, log=True)
    rates = [10.0**-power for power in range(8)]
    trials = [
        optuna.create_trial(params={"lr": max(rate, 1e-6)}, distributions={"lr": distribution}, value=rate)
        for rate in rates
    ]
    with styled():
        figure = Figure()
        axes = figure.add_subplot()
        draw_slice(axes, "lr", complete(trials))
    figure.savefig(tmp_path / "axis.svg")
    assert axes.get_xscale() == "log"
    shown = {label.get_text() for label in axes.get_xticklabels()}
    assert "0.01" in shown
    assert not any("$" in text for text in shown)


def test_datasets_with_similar_names_do_not_share_files(tmp_path: Path) -> None:
    for index, dataset in enumerate(("a/b", "a_b", "a b")):
        write_run(tmp_path / str(index), "core", 1, draw(index, 4.0), dataset=dataset)
    written = make_report(tmp_path)
    assert {block.slug for block in written.blocks} == {"a_b", "a_b_2", "a_b_3"}
    assert len({path.name for path in written.files}) == len(written.files) == 4 + 2 * len(written.drawings)


@pytest.mark.parametrize("users", [1, 2, 200])
@pytest.mark.parametrize("seeds", [1, 2])
def test_equal_models_can_be_compared(tmp_path: Path, users: int, seeds: int) -> None:
    for model in ("core", "hgn", "adamct"):
        for seed in range(seeds):
            ranks = {name: np.full(users, 3) for name in ("uni100", "full")}
            metrics = scores(ranks, "test") | {"val/uni100/ndcg@10": 0.5}
            cost: dict[str, Any] = {"parameters": 1, "flops_per_query": None, "validation_seconds": None}
            write_run(tmp_path / f"{model}{seed}", model, seed, ranks, metrics=metrics, cost=cost, history={})
    for test in compare(block_of(tmp_path)):
        assert (test.difference, test.p, test.wins, test.users) == (0.0, 1.0, 0, users)
    if (users, seeds) == (1, 1):
        make_report(tmp_path)
        assert "nan" not in (tmp_path / "report" / "table.md").read_text()


def test_runs_without_common_users_are_not_compared(tmp_path: Path) -> None:
    first, second = np.arange(200) < 100, np.arange(200) >= 100
    for model, tested in (("core", first), ("adamct", second)):
        ranks = {name: np.where(tested, values, 0) for name, values in draw(1, 4.0).items()}
        write_run(tmp_path / model, model, 1, ranks)
    assert compare(block_of(tmp_path)) == []


def test_tested_and_untested_runs_are_reported_together(tmp_path: Path) -> None:
    for size in (3, 5, 7, 9):
        ranks = draw(size, 4.0) if size > 3 else None
        write_run(tmp_path / str(size), "adamct", 1, ranks, keys={"model.kernel_size": size}, ended_by="patience")
    assert make_report(tmp_path).status == "4 finished"


def test_zero_differences_are_not_significant() -> None:
    for shape in ((1, 1), (2, 1), (3, 5)):
        (outcome,) = resample([np.zeros(shape)])
        assert outcome.p == 1.0
        assert outcome.low <= 0 <= outcome.high


def test_grouping_does_not_depend_on_the_order_of_runs(tmp_path: Path) -> None:
    for index, label in enumerate(("x", "x", None)):
        write_run(tmp_path / str(index), "adamct", 1, draw(index, 4.0), keys={"label": label, "model.depth": index})
    runs = find_runs([tmp_path])
    assert [one.name for one in group(runs)] == [one.name for one in group(runs[::-1])]


def test_markdown_escapes_entities_and_no_other_ampersand() -> None:
    assert plain_markdown("Allan & Carterette, a&b, &amp; &#38;") == r"Allan & Carterette, a&b, \&amp; \&#38;"


def test_runs_from_before_a_key_existed_are_the_same_variant(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "core", 1, draw(1, 4.0))
    write_run(tmp_path / "b", "core", 2, draw(2, 4.0), keys={"dataset.name": None})
    (core,) = group(find_runs([tmp_path]))
    assert (core.name, [run.seed for run in core.runs], core.matches_paper) == ("CORE", [1, 2], True)
    write_run(tmp_path / "c", "core", 1, draw(3, 4.0), keys={"optimizer.lr": 0.1, "dataset.name": None})
    assert [variant.name for variant in group(find_runs([tmp_path]))] == ["CORE", "lr=0.1"]
