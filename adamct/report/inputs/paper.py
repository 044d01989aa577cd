"""What the paper reports: AdaMCT (CIKM '23, doi 10.1145/3583780.3614773), all of it on the test split.

- ``table2.csv``: Table 2, models and metrics.
- ``settings.csv``: Tables 3 to 5, 7, 8 and Figure 4, variants of AdaMCT by the labels they have in ``conf/sweep/``; no
  value where a figure only shows that the variant is worse. Not all of Tables 5, 7 and 8 can be one value changed from
  the best: on Beauty four of their rows hold the same .3526, none the .3554 of Table 2.
- ``costs.csv``: Tables 6, 9 and 10, on an A100; GB taken as 1,024 MiB.
"""

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from adamct.evaluation.names import Metric

RANKING, MODEL, METRIC = "uni100", "adamct", "ndcg@10"
"""The paper's ranking, its model, and the metric of all its tables but the second."""


class Reported(NamedTuple):
    """A figure of the paper."""

    value: float | None
    """None where the paper only says that it is below the full model's."""
    source: str


@cache
def read(name: str) -> list[dict[str, str]]:
    """Read the rows of a file beside this one."""
    return list(csv.DictReader((files("adamct.report.inputs") / name).read_text().splitlines()))


@cache
def models() -> dict[tuple[str, str, str], Reported]:
    """Return the figures of each dataset, model and metric, in the paper's order of models."""
    return {
        (row["dataset"], row["model"], row["metric"]): Reported(float(row["value"]), "Table 2")
        for row in read("table2.csv")
    }


@cache
def settings() -> dict[tuple[str, str], Reported]:
    """Return the figures of each dataset and label of a variant of AdaMCT."""
    return {
        (row["dataset"], row["label"]): Reported(float(row[METRIC]) if row[METRIC] else None, row["source"])
        for row in read("settings.csv")
    }


@cache
def costs() -> dict[tuple[str, str, str], float]:
    """Return the cost of each model on each dataset, by the names of a run's record."""
    return {(row["dataset"], row["model"], row["quantity"]): float(row["value"]) for row in read("costs.csv")}


def reported(dataset: str, model: str, label: str | None, metric: Metric) -> Reported | None:
    """Return the paper's value of a metric for a model, or for a labelled variant of it; None where it has none."""
    if metric.ranking != RANKING:
        return None
    if label is None:
        return models().get((dataset, model, metric.name))
    return settings().get((dataset, label)) if (model, metric.name) == (MODEL, METRIC) else None


def position(model: str) -> int:
    """Return a model's place among the paper's columns; models that the paper lacks come last."""
    order = list(dict.fromkeys(model for _, model, _ in models()))
    return order.index(model) if model in order else len(order)
