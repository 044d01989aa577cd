"""What the paper reports: ``table2.csv`` is Table 2 of AdaMCT (CIKM '23, doi 10.1145/3583780.3614773).

Its figures are of the test split with the target among 100 sampled items.
"""

import csv
from functools import cache
from importlib.resources import files

PROTOCOL = "uni100"


@cache
def table2() -> dict[tuple[str, str, str], float]:
    """The value of each dataset, model and metric, in the paper's order of models."""
    lines = (files("adamct.report") / "table2.csv").read_text().splitlines()
    return {(row["dataset"], row["model"], row["metric"]): float(row["value"]) for row in csv.DictReader(lines)}


def reported(dataset: str, model: str, metric: str) -> float | None:
    """The paper's value of a metric such as ``uni100/ndcg@10``, if it has one."""
    protocol, _, name = metric.partition("/")
    return table2().get((dataset, model, name)) if protocol == PROTOCOL else None


def position(model: str) -> int:
    """A model's place among the paper's columns; models it does not have come after them."""
    order = list(dict.fromkeys(model for _, model, _ in table2()))
    return order.index(model) if model in order else len(order)
