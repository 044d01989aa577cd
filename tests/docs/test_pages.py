"""The generated pages have every group, key and model, and the tables of results are those of the record."""

import json
import re
from pathlib import Path

import pytest

from adamct.report.build import report
from adamct.report.inputs.blocks import make_blocks
from adamct.report.inputs.runs import find_runs
from adamct.report.inputs.titles import model_title
from adamct.report.sections.claims import claims_of
from adamct.report.statistics import compare
from docs.generate.docstrings import as_markdown
from docs.generate.groups import address, group_pages
from docs.generate.models import model_pages
from docs.generate.reports import REPORTS, claims_page
from docs.generate.results import (
    RECORD,
    loss_tables,
    mean,
    paper_table,
    record_table,
    result_table,
    results,
    training_table,
)
from docs.generate.tables import DOCUMENTS, PLACE, with_tables
from docs.generate.yamls import CONF, ROOT, choices, comments_of_keys, described, groups, header_of
from tests.conftest import MODELS


def test_every_key_of_every_group_is_on_its_page() -> None:
    pages = group_pages()
    for group in groups():
        for choice in choices(group):
            page = pages[address(group)]
            assert f"## {choice.path.stem}\n" in page
            keys = [key.name if choice.package else key.name.rpartition(".")[2] for key in choice.keys]
            assert [key for key in keys if f"{choice.package}{key}" not in page] == [], choice.path


def test_every_top_level_key_is_on_the_first_page() -> None:
    page = group_pages()["reference/config/index.md"]
    keys = {key.name for key in described(CONF / "config.yaml").keys if not key.name.startswith("hydra.")}
    assert {key for key in keys if f"`{key}`" not in page} == set()


def test_the_values_of_a_key_are_those_of_its_annotation() -> None:
    pages = model_pages()
    assert "| `model.num_heads` | `1` | whole number (at least 1) |" in pages["reference/models/sasrec.md"]
    assert "| `model.dropout` | `0.5` | number (at least 0, below 1) |" in pages["reference/models/sasrec.md"]
    assert "whole number (at least 1, odd)" in pages["reference/models/adamct.md"]


def test_every_model_has_a_page_with_its_source_and_results() -> None:
    pages = model_pages()
    assert {page.split("/")[-1] for page in pages} == {"index.md", *(f"{model}.md" for model in MODELS)}
    for model in MODELS:
        page = pages[f"reference/models/{model}.md"]
        titles = ["The model and its parts", "Parameters", "Tuned values", "Search space", "Results"]
        assert re.findall(r"^## (.*)$", page, re.M) == titles
        tuned = CONF / "tuned" / "model" / f"{model}.yaml"
        assert not tuned.exists() or header_of(tuned.read_text()) in page
    sasrec = next(result for result in results()["beauty"] if result.model == "sasrec")
    assert f"`{sasrec.command}`" in pages["reference/models/sasrec.md"]


def test_models_have_short_distinct_names() -> None:
    names = [model_title(model) for model in MODELS]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 24


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_tables_are_those_of_the_record(document: Path) -> None:
    """A failure means that ``python -m docs.generate.tables`` must run again."""
    text = document.read_text()
    assert PLACE.search(text)
    assert with_tables(text) == text


def test_the_record_s_contents_are_its_files() -> None:
    rows = [[cell.strip() for cell in row.split("|")][1:-1] for row in record_table().splitlines()[2:]]
    by_title = {title: cells for title, *cells in rows}
    for title, folder in (("Beauty", "beauty"), ("Losses on Beauty", "loss")):
        seeds, hours, commits = by_title[title]
        files = [*(RECORD / folder).rglob("results.json")]
        costs = [json.loads(file.read_text())["cost"] for file in files]
        seconds = [c["epochs"] * ((c["train_seconds_per_epoch"] or 0) + c["validation_seconds"]) for c in costs]
        assert seeds.startswith(f"seed 1: {sum(file.parent.name == '1' for file in files)}")
        assert float(hours) == pytest.approx(sum(seconds) / 3600, abs=0.05)
        assert sum(map(int, re.findall(r": (\d+)", commits))) == len(files)


def test_a_row_has_the_metrics_of_the_run_beside_published_ones() -> None:
    result = next(result for result in results()["beauty"] if result.model == "sasrec")
    row = next(line for line in result_table("beauty").splitlines() if line.startswith("| SASRec "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3] == ".4933 / .3424"  # Table 2 of the paper
    assert cells[5] == ".0830 / .0416 RecBole"
    assert cells[7] == ".0921 / .0531 eSASRec"
    if len(result.runs) == 1:
        (run,) = result.runs
        assert cells[6] == " / ".join(
            f"{run.metrics[f'test/full_unseen/{metric}@10']:.4f}"[1:] for metric in ("recall", "ndcg")
        )


def test_the_paper_s_table_has_each_metric_beside_the_paper_s() -> None:
    head, _, *rows = ([cell.strip() for cell in line.split("|")][1:-1] for line in paper_table("beauty").splitlines())
    result = next(result for result in results()["beauty"] if result.model == "sasrec")
    paper = dict(zip(head[1:], [".2154", ".4014", ".4933", ".3127", ".3424"], strict=True))
    cells = [f"{mean(result.values('uni100', metric))} ({paper[metric]})" for metric in head[1:]]
    assert ["SASRec", *cells] in rows
    assert "BSARec" not in {row[0] for row in rows}


def test_the_table_of_epochs_has_what_each_run_chose() -> None:
    head, _, *rows = (
        [cell.strip() for cell in line.split("|")][1:-1] for line in training_table("beauty").splitlines()
    )
    result = next(result for result in results()["beauty"] if result.model == "hstu")
    (row,) = (dict(zip(head, row, strict=True)) for row in rows if row[0] == "HSTU")
    for ranking in ("uni100", "full", "full_unseen"):
        chosen = [str(run.results["chosen"][ranking]["epoch"]) for run in result.runs]
        assert row[f"weights of {ranking}"].split(", ") == chosen
    assert "Popularity" not in {row[0] for row in rows}


def test_the_table_of_losses_has_the_metrics_of_the_runs() -> None:
    record = json.loads((RECORD / "loss" / "beauty" / "gru4rec_loss=bpr" / "1" / "results.json").read_text())
    values = [f"{record['metrics'][f'test/full/{metric}@10']:.4f}"[1:] for metric in ("recall", "ndcg")]
    head, _, *rows = ([cell.strip() for cell in line.split("|")] for line in loss_tables()["full"].splitlines())
    (row,) = (row for row in rows if "`bpr`" in row)
    assert row[head.index("GRU4Rec")] == " / ".join(values)


def test_the_claims_are_those_of_the_record() -> None:
    """A failure means that ``python -m docs.generate.reports`` must run again."""
    (block,) = make_blocks(find_runs([RECORD / "beauty" / model for model in ("adamct", "sasrec")]), None, None)
    (claim,) = claims_of(block, compare(block))
    section = (REPORTS / "claims.md").read_text().partition("## Beauty\n")[2]
    row = next(line for line in section.splitlines() if line.startswith("| SASRec "))
    for test in claim.tests.values():  # not the verdicts, whose correction counts the other models
        assert f" {test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f}) " in row


@pytest.mark.slow
def test_the_page_of_claims_is_made_from_the_record(tmp_path: Path) -> None:
    assert claims_page(report([RECORD], tmp_path)) == (REPORTS / "claims.md").read_text()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170


def test_comments_belong_to_their_keys() -> None:
    text = "# A header.\n#   python run.py x=1\n\n# above\na: 1\nb:  # of b\n  c: 2\n  d: 3  # own\ne: '#'\n"
    assert comments_of_keys(text) == {"a": "above", "b": "of b", "b.c": "of b", "b.d": "own", "e": "'"}
    assert header_of(text) == "A header.\n\n```bash\npython run.py x=1\n```"


@pytest.mark.parametrize(
    ("docstring", "markdown"),
    [
        ("F_t M^T of ``x_y``", r"F\_t M^T of `x_y`"),
        ("p_1 <= p_2", r"p\_1 &lt;= p\_2"),
        (
            "It is:\n\n    a_b * c\n\nArgs:\n    k: the\n        number.\n",
            "It is:\n\n    a_b * c\n\nArgs:\n\n- k: the number.",
        ),
    ],
)
def test_docstrings_keep_their_symbols(docstring: str, markdown: str) -> None:
    assert as_markdown(docstring) == markdown
