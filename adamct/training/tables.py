"""The tables that a run prints: its dataset before it trains, its scores after its test."""

from typing import Any

from pytorch_lightning.utilities import rank_zero_only
from rich import box
from rich.console import Console
from rich.table import Column, Table

from adamct.batch import HeldOutStatistics, Statistics
from adamct.evaluation.names import Metric, in_order, shown_metrics


@rank_zero_only
def print_statistics(statistics: Statistics, held_out: HeldOutStatistics) -> None:
    """Print the dataset's row of Table 1, and the ranked users and the ties of its held-out items."""
    table = Table("interactions", "users", "items", "per user", "per item", "sparsity", box=box.SIMPLE_HEAD)
    interactions, users, items, per_user, per_item, sparsity = statistics
    table.add_row(
        f"{interactions:,}", f"{users:,}", f"{items:,}", f"{per_user:.1f}", f"{per_item:.1f}", f"{sparsity:.2%}"
    )
    Console().print(table)
    validated, tested, validation_tied, test_tied, *_ = held_out
    if (validated, tested) != (users, users):
        print(f"users with an item to validate: {validated:,}, to test: {tested:,}")
    if validation_tied is not None:
        shares = f"validation {validation_tied:.1%}, test {test_tied:.1%}"
        print(f"held-out items with the same time as the user's previous item: {shares}")


def print_scores(scores: dict[str, dict[str, float]], chosen: dict[str, dict[str, Any]], learns: bool) -> None:
    """Print a row for each metric, a section for each ranking, and a column for each model or reference.

    Args:
        scores: the test metrics of each model or reference.
        chosen: the epoch of the model's weights for each ranking.
        learns: whether the model was trained, so that its weights have an epoch.
    """
    some = next(iter(scores.values()))
    table = Table("test", "", *(Column(name, justify="right") for name in scores), box=box.SIMPLE_HEAD)
    for ranking in in_order(Metric.parse(key).ranking for key in some):
        metrics = [metric for metric in shown_metrics(ranking) if f"test/{ranking}/{metric}" in some]
        epoch = f"(epoch {chosen[ranking]['epoch'] + 1})" if learns else ""
        labels = [ranking, epoch] + [""] * len(metrics)
        for label, metric in zip(labels, metrics, strict=False):
            values = [f"{metrics_of[f'test/{ranking}/{metric}']:.4f}" for metrics_of in scores.values()]
            table.add_row(label, metric, *values, end_section=metric == metrics[-1])
    Console().print(table)
