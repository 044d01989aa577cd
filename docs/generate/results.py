"""The tables of results: what the runs of the record reach, beside the paper's and other published figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import fmean, stdev
from typing import NamedTuple

from adamct.evaluation.names import FULL, FULL_UNSEEN
from adamct.report.inputs.paper import RANKING, models, position
from adamct.report.inputs.published import Published, published
from adamct.report.inputs.runs import Run, find_runs
from adamct.report.inputs.titles import block_title, model_title
from docs.generate.yamls import ROOT

RECORD = ROOT / "reports" / "runs"
METRICS = ("recall@10", "ndcg@10")
DATASETS = {"beauty": "Amazon Beauty", "toys": "Amazon Toys and Games", "sports": "Amazon Sports and Outdoors"}
RANKINGS = (RANKING, FULL, FULL_UNSEEN)


class Result(NamedTuple):
    """The runs of a model on a dataset, one for each seed."""

    model: str
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> list[int]:
        """The seeds of its runs."""
        return sorted(run.seed for run in self.runs if run.seed is not None)

    def values(self, ranking: str, metric: str) -> list[float]:
        """Return the metric of each run on the test split."""
        return [run.metrics[f"test/{ranking}/{metric}"] for run in self.runs]

    @property
    def command(self) -> str:
        """The command that makes its runs."""
        (dataset,) = {run.dataset for run in self.runs}
        overrides = f"dataset={dataset} model={self.model} seed={','.join(map(str, self.seeds))}"
        return f"python run.py {'-m ' * (len(self.seeds) > 1)}{overrides}"


@cache
def recorded() -> list[Run]:
    """Return every run of the record."""
    return find_runs([RECORD])


@cache
def results() -> dict[str, list[Result]]:
    """Return the results of each dataset, those with the highest NDCG@10 among unseen items first.

    Runs of studies and of labelled variants are left out.
    """
    runs = [run for run in recorded() if run.tested and not run.label and not run.choices.get("sweep")]
    datasets = [name for name in DATASETS if any(run.dataset == name for run in runs)]
    return {dataset: ranked([run for run in runs if run.dataset == dataset]) for dataset in datasets}


def ranked(runs: Sequence[Run]) -> list[Result]:
    """Return the results of some runs, the best first."""
    found = [Result(name, tuple(run for run in runs if run.model == name)) for name in {run.model for run in runs}]
    return sorted(found, key=lambda result: -fmean(result.values(FULL_UNSEEN, "ndcg@10")))


def result_table(dataset: str) -> str:
    """Return the table of a dataset in Markdown."""
    rows = [
        "| | seeds | uni100 | the paper | full | published | full_unseen | published | command |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results()[dataset]:
        paper = {metric: models().get((dataset, result.model, metric)) for metric in METRICS}
        others = [best(dataset, result.model, ranking) for ranking in (FULL, FULL_UNSEEN)]
        cells = [
            model_title(result.model),
            str(len(result.seeds)),
            pair({metric: result.values(RANKING, metric) for metric in METRICS}),
            pair({metric: [value.value] for metric, value in paper.items() if value and value.value is not None}),
            pair({metric: result.values(FULL, metric) for metric in METRICS}),
            others[0],
            pair({metric: result.values(FULL_UNSEEN, metric) for metric in METRICS}),
            others[1],
            f"`{result.command}`",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def paper_table(dataset: str) -> str:
    """Return the paper's Table 2 of a dataset in Markdown, in its order: our figures, and the paper's in brackets."""
    figures = {key: reported.value for key, reported in models().items() if reported.value is not None}
    metrics = list(dict.fromkeys(metric for name, _, metric in figures if name == dataset))
    rows = [f"| | {' | '.join(metrics)} |", "|---" * (1 + len(metrics)) + "|"]
    for result in sorted(results()[dataset], key=lambda result: position(result.model)):
        if (dataset, result.model, metrics[0]) in figures:
            pairs = [(result.values(RANKING, name), figures[dataset, result.model, name]) for name in metrics]
            cells = [f"{mean(values)} ({short(paper)})" for values, paper in pairs]
            rows.append(f"| {model_title(result.model)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def training_table(dataset: str) -> str:
    """Return the parameters of each trained model in Markdown, the epoch of each ranking's weights, and all epochs."""
    head = ["parameters", *(f"weights of {ranking}" for ranking in RANKINGS), "epochs run"]
    rows = [f"| | {' | '.join(head)} |", "|---" * (1 + len(head)) + "|"]
    for result in results()[dataset]:
        if not any(run.results["cost"]["epochs"] for run in result.runs):
            continue
        epochs = [[str(run.results["chosen"][ranking]["epoch"]) for run in result.runs] for ranking in RANKINGS]
        total = [str(run.results["cost"]["epochs"]) for run in result.runs]
        parameters = f"{result.runs[0].results['cost']['parameters']:,}"
        rows.append(f"| {model_title(result.model)} | {parameters} | {' | '.join(map(', '.join, [*epochs, total]))} |")
    return "\n".join(rows)


def record_table() -> str:
    """Return the contents of the record in Markdown: the runs of each dataset and study, their hours and commits."""
    rows = ["| | runs of each seed | hours | runs of each commit |", "|---|---|---|---|"]
    by_title: dict[str, list[Run]] = {}
    for run in recorded():
        by_title.setdefault(block_title(run.dataset, run.choices.get("sweep")), []).append(run)
    for title, runs in by_title.items():
        seeds = sorted(Counter(run.seed for run in runs if run.seed is not None).items())
        commits = Counter(run.results["git_commit"][:7] for run in runs).most_common()
        cells = [
            title,
            ", ".join(f"seed {seed}: {count}" for seed, count in seeds),
            f"{sum(map(hours, runs)):.1f}",
            ", ".join(f"`{commit}`: {count}" for commit, count in commits),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def hours(run: Run) -> float:
    """Return the hours of a run's training and its validations."""
    cost = run.results["cost"]
    return cost["epochs"] * ((cost["train_seconds_per_epoch"] or 0.0) + cost["validation_seconds"]) / 3600


def loss_tables() -> dict[str, str]:
    """Return a table of the study of losses on Beauty for each ranking: a row for each loss, a column for each model.

    The order of both is that of the highest NDCG@10 among unseen items.
    """
    runs = [run for run in recorded() if (run.choices.get("sweep"), run.dataset) == ("loss", "beauty") and run.tested]
    runs.sort(key=lambda run: -run.metrics[f"test/{FULL_UNSEEN}/ndcg@10"])
    names = dict.fromkeys(run.model for run in runs)
    losses = dict.fromkeys(run.name_of("loss") for run in runs)
    cells = {
        (loss, name): Result(name, tuple(run for run in runs if (run.name_of("loss"), run.model) == (loss, name)))
        for loss in losses
        for name in names
    }
    tables = {}
    for ranking in reversed(RANKINGS):
        rows = [f"| {ranking} | {' | '.join(map(model_title, names))} |", "|---" * (1 + len(names)) + "|"]
        for loss in losses:
            results = [cells[loss, name] for name in names]
            texts = [pair({metric: one.values(ranking, metric) for metric in METRICS if one.runs}) for one in results]
            rows.append(f"| `{loss}` | {' | '.join(texts)} |")
        tables[ranking] = "\n".join(rows)
    return tables


def pair(values: Mapping[str, Sequence[float]]) -> str:
    """Return Recall@10 and NDCG@10: the mean, and the standard deviation over several seeds."""
    return " / ".join(map(mean, values.values())) if values else ""


def mean(values: Sequence[float]) -> str:
    """Return the mean of some values, with their standard deviation if there are several."""
    spread = f" ± {short(stdev(values))}" if len(values) > 1 else ""
    return short(fmean(values)) + spread


def short(value: float) -> str:
    """Return a number below one in four digits, without its zero."""
    return f"{value:.4f}".removeprefix("0")


def best(dataset: str, model: str, ranking: str) -> str:
    """Return the published result of a model in a ranking with the highest NDCG@10; empty if there is none."""
    candidates = [result for result in published(dataset) if (result.model, result.ranking) == (model, ranking)]
    if not candidates:
        return ""
    result: Published = max(candidates, key=lambda candidate: candidate.ndcg)
    return f"{short(result.recall)} / {short(result.ndcg)} {result.source}"
