"""What a run shows before it trains and after its test."""

import io
import logging
from typing import Any

import pytorch_lightning as pl
import torch
from rich import box, get_console
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from adamct.batch import HeldOutStatistics, Statistics
from adamct.dataset import Dataset
from adamct.evaluation.names import Metric, in_order, shown_metrics
from adamct.runs.console import FILE_LOG, is_live
from adamct.runs.processes import is_first
from adamct.training.module import NextItemModule

log = logging.getLogger(__name__)


def show(content: RenderableType) -> None:
    """Write a table to the run's log file, and show it on the console."""
    if not is_first():
        return
    text = io.StringIO()
    Console(file=text, width=200, color_system=None).print(content)
    lines = "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())
    if is_live():
        FILE_LOG.info(lines)
        get_console().print(content)
    else:
        log.info(lines)


def show_start(name: str, trainer: pl.Trainer, module: NextItemModule, data: Dataset, others: dict[str, str]) -> None:
    """Show what a run is about to do: its dataset's row of Table 1, and a line for each fact.

    Args:
        name: the dataset's name.
        trainer: the run's trainer.
        module: the module to train or test.
        data: the dataset.
        others: further facts, by name.
    """
    parameters = sum(parameter.numel() for parameter in module.model.parameters())
    block = Table.grid(Column(style="bold"), Column(overflow="fold"), padding=(0, 2))
    facts = {
        "dataset": name,
        **held_out_facts(data.statistics.users, data.held_out),
        "model": f"{type(module.model).__name__}, {parameters:,} parameters",
        "device": device_text(trainer.strategy.root_device, trainer.world_size),
        "seed": str(module.seed),
    }
    for fact in (facts | others).items():
        block.add_row(*map(Text, fact))  # names of folders and datasets may look like markup
    show(Group(statistics_table(data.statistics), block))


def statistics_table(statistics: Statistics) -> Table:
    """Return the dataset's row of Table 1."""
    table = Table("interactions", "users", "items", "per user", "per item", "sparsity", box=box.SIMPLE_HEAD)
    interactions, users, items, per_user, per_item, sparsity = statistics
    table.add_row(
        f"{interactions:,}", f"{users:,}", f"{items:,}", f"{per_user:.1f}", f"{per_item:.1f}", f"{sparsity:.2%}"
    )
    return table


def held_out_facts(users: int, held_out: HeldOutStatistics) -> dict[str, str]:
    """Return how many users are ranked, if not all are, and the share of held-out items that are tied in time."""
    validated, tested, validation_tied, test_tied, *_ = held_out
    facts = {}
    if (validated, tested) != (users, users):
        facts["ranked"] = f"{validated:,} users in the validation, {tested:,} in the test"
    if validation_tied is not None:
        shares = f"{validation_tied:.1%} of validation items, {test_tied:.1%} of test items"
        facts["ties"] = f"{shares} have the time of the user's previous item"
    return facts


def device_text(device: torch.device, processes: int) -> str:
    """Return the name of a process's device, and the number of processes if there are several."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return name if processes == 1 else f"{processes} processes, each on {name}"


def scores_table(scores: dict[str, dict[str, float]], chosen: dict[str, dict[str, Any]], learns: bool) -> Table:
    """Return a row for each metric, a section for each ranking, and a column for each model or reference.

    Args:
        scores: the test metrics of each model or reference.
        chosen: the epoch of the model's weights for each ranking.
        learns: whether the model was trained, so that its weights have an epoch.
    """
    some = next(iter(scores.values()))
    table = Table("test", "", *(Column(Text(name), justify="right") for name in scores), box=box.SIMPLE_HEAD)
    for ranking in in_order(Metric.parse(key).ranking for key in some):
        metrics = [metric for metric in shown_metrics(ranking) if f"test/{ranking}/{metric}" in some]
        epoch = f"(epoch {chosen[ranking]['epoch']})" if learns else ""
        labels = [ranking, epoch] + [""] * len(metrics)
        for label, metric in zip(labels, metrics, strict=False):
            values = [f"{metrics_of[f'test/{ranking}/{metric}']:.4f}" for metrics_of in scores.values()]
            table.add_row(label, metric, *values, end_section=metric == metrics[-1])
    return table
