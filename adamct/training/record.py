"""The record of a run: ``results.json``, ``ranks.npz`` and the table at its end."""

import json
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from rich import box
from rich.console import Console
from rich.table import Column, Table

from adamct.batch import HeldOutStatistics, Statistics, TestFacts
from adamct.dataset import Dataset
from adamct.evaluation.metrics import RankingMetrics
from adamct.evaluation.names import in_order, shown_metrics
from adamct.runs.folder import RANKS, RESULTS, write_arrays, write_first
from adamct.training.callbacks import History, Timing
from adamct.training.cost import cost
from adamct.training.module import NextItemModule
from adamct.training.selection import Chosen
from adamct.training.trainer import Outcome


def provenance(device: torch.device) -> dict[str, Any]:
    """What the numbers were made with."""
    root = Path(__file__).parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # an installed copy, without its history
        commit = None
    return {
        "git_commit": commit,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": version("pytorch-lightning"),
        },
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or device.type,
        "threads": torch.get_num_threads(),
        "host": platform.platform(),
    }


def record(
    folder: Path,
    trainer: pl.Trainer,
    module: NextItemModule,
    data: Dataset,
    outcome: Outcome,
    about: dict[str, Any],
) -> None:
    """Write the run's ``results.json`` and, where it was tested, ``ranks.npz``, and print its table.

    Args:
        folder: the run's folder.
        trainer: the trainer of the run.
        module: the module that was trained or tested.
        data: its data.
        outcome: the weights that were chosen, and how training ended.
        about: the run's config and whatever else is to be kept of how it was started and ended.
    """
    tested = module.scores.get("test")
    references = reference_scores(data, module) if tested else {}  # by all processes together
    if not trainer.is_global_zero:
        return
    callbacks: list[pl.Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    timing = next(callback for callback in callbacks if isinstance(callback, Timing))
    history = next((callback.values for callback in callbacks if isinstance(callback, History)), {})
    results = {
        "metrics": {**validated(outcome.chosen), **(tested or {})},
        "references": references,
        "chosen": weights(outcome.chosen),
        "ended_by": outcome.ended_by,
        "identity": module.identity,
        "dataset": {
            **module.identity["dataset"],
            "source_sha256": data.source_sha256,
            "statistics": data.statistics._asdict(),
            "held_out": data.held_out._asdict(),
        },
        "cost": cost(module.model, module.device, data.spec.max_len, data.longest_history, timing),
        "seed": module.seed,
        **provenance(module.device),
        **about,
        "history": history,
    }
    if tested:
        save_ranks(folder, module, data.test_facts())
        print_table({type(module.model).__name__: tested, **references}, weights(outcome.chosen), module.learns)
    write_first(folder / RESULTS, json.dumps(results, indent=2) + "\n")
    print(f"results: {folder / RESULTS}")


def validated(chosen: Sequence[Chosen]) -> dict[str, float]:
    """Return the validation metrics of each ranking, by the weights that are chosen for it."""
    return {
        name: value
        for choice, _, scores in chosen
        for ranking in choice.rankings
        for name, value in scores.items()
        if name.startswith(f"val/{ranking}/")
    }


def weights(chosen: Sequence[Chosen]) -> dict[str, dict[str, Any]]:
    """Return by which metric and at which epoch the weights of each ranking were chosen."""
    return {
        ranking: {"monitor": choice.monitor, "epoch": epoch}
        for choice, epoch, _ in chosen
        for ranking in choice.rankings
    }


def reference_scores(data: Dataset, module: NextItemModule) -> dict[str, dict[str, float]]:
    """The test metrics of what the data offers to read a model's against."""
    rankers = data.references()
    metrics = {name: [RankingMetrics(data.spec.num_users, module.cutoffs) for _ in module.rankings] for name in rankers}
    for batch in data.test_dataloader():
        for name, ranker in rankers.items():
            for metric, rank in zip(metrics[name], ranker(batch), strict=True):
                metric.to(rank.device).update(batch.histories.user, rank)
    return {
        name: {
            f"test/{ranking}/{key}": value
            for ranking, metric in zip(module.rankings, metrics[name], strict=True)
            for key, value in metric.compute().items()
        }
        for name in rankers
    }


def save_ranks(folder: Path, module: NextItemModule, facts: TestFacts) -> None:
    """Write every user's test rank in each ranking, and the facts of its test item, in the order of user ids."""
    arrays = {name: module.metric("test", name).joined.numpy() for name in module.rankings} | facts._asdict()
    small = {name: values.astype(np.min_scalar_type(values.max())) for name, values in arrays.items()}
    write_arrays(folder / RANKS, small)


@rank_zero_only
def announce(statistics: Statistics, held_out: HeldOutStatistics) -> None:
    """Print the dataset's row of Table 1, how many users are ranked where not all are, and the ties where known."""
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


def print_table(scores: dict[str, dict[str, float]], chosen: dict[str, dict[str, Any]], learns: bool) -> None:
    """Print a row for each metric, a section for each ranking, and a column for each model or reference.

    Args:
        scores: by model or reference, the test metrics.
        chosen: by ranking, the epoch of the model's weights.
        learns: whether the model was trained, so that the epoch means something.
    """
    some = next(iter(scores.values()))
    table = Table("test", "", *(Column(name, justify="right") for name in scores), box=box.SIMPLE_HEAD)
    for ranking in in_order(key.split("/")[1] for key in some):
        metrics = [metric for metric in shown_metrics(ranking) if f"test/{ranking}/{metric}" in some]
        epoch = f"(epoch {chosen[ranking]['epoch'] + 1})" if learns else ""
        labels = [ranking, epoch] + [""] * len(metrics)
        for label, metric in zip(labels, metrics, strict=False):
            values = [f"{of[f'test/{ranking}/{metric}']:.4f}" for of in scores.values()]
            table.add_row(label, metric, *values, end_section=metric == metrics[-1])
    Console().print(table)
