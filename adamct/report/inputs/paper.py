"""The figures that the paper reports: AdaMCT (CIKM '23, doi 10.1145/3583780.3614773), all on the test split.

- ``table2.csv``: Table 2, the metrics of each model.
- ``settings.csv``: Tables 3 to 5, 7, 8 and Figure 4, the variants of AdaMCT by their labels in ``conf/sweep/``. The
  value is empty if the paper only shows that the variant is worse. Tables 5, 7 and 8 do not change one value of the
  best variant. On Beauty four of their rows have the same .3526, which is that of d_model=32; only d_model=16 has the
  .3554 of Table 2.
- ``costs.csv``: Tables 6, 9 and 10, on an A100. A GB is taken as 1,024 MiB.
"""

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from adamct.evaluation.names import Metric

RANKING, MODEL, METRIC = "uni100", "adamct", "ndcg@10"
"""The paper's ranking, its model, and the metric of all its tables except Table 2."""


class Reported(NamedTuple):
    """A figure of the paper."""

    value: float | None
    """None if the paper only says that it is below the full model's."""
    source: str


@cache
def read(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file in this folder."""
    return list(csv.DictReader((files("adamct.report.inputs") / name).read_text(encoding="utf-8").splitlines()))


@cache
def models() -> dict[tuple[str, str, str], Reported]:
    """Return the figures by dataset, model and metric, in the paper's order of models."""
    return {
        (row["dataset"], row["model"], row["metric"]): Reported(float(row["value"]), "Table 2")
        for row in read("table2.csv")
    }


@cache
def settings() -> dict[tuple[str, str], Reported]:
    """Return the figures of AdaMCT's variants, by dataset and label."""
    return {
        (row["dataset"], row["label"]): Reported(float(row[METRIC]) if row[METRIC] else None, row["source"])
        for row in read("settings.csv")
    }


@cache
def costs() -> dict[tuple[str, str, str], float]:
    """Return the costs by dataset, model and the cost's key in a run's record."""
    return {(row["dataset"], row["model"], row["quantity"]): float(row["value"]) for row in read("costs.csv")}


def reported(dataset: str, model: str, label: str | None, metric: Metric) -> Reported | None:
    """Return the paper's value of a metric for a model or a labelled variant of it; None if the paper has none."""
    if metric.ranking != RANKING:
        return None
    if label is None:
        return models().get((dataset, model, metric.name))
    return settings().get((dataset, label)) if (model, metric.name) == (MODEL, METRIC) else None


def position(model: str) -> int:
    """Return a model's position among the paper's columns. A model that is not in the paper comes last."""
    order = list(dict.fromkeys(model for _, model, _ in models()))
    return order.index(model) if model in order else len(order)
