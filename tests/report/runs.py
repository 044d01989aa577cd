"""Builders of finished runs, sweeps and reports, with scores computed from the ranks alone."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from adamct.evaluation.storage import FINGERPRINT, stored
from adamct.identity import fingerprint_of_test_items, identity_of
from adamct.report.build import report
from adamct.report.inputs.blocks import Block, make_blocks
from adamct.report.inputs.runs import find_runs, find_sweeps
from adamct.report.outputs.report import Report
from adamct.report.outputs.table import Cell, Table
from adamct.report.sections.comparison import comparison_table
from adamct.report.statistics import compare
from adamct.runs.folder import write_arrays

SHA = "0" * 64
CUTOFFS = (1, 5, 10)
Ranks = dict[str, np.ndarray]
EPOCHS = {"uni100": 4, "full": 2, "full_unseen": 3}
"""The epoch whose weights each ranking is tested with."""


def scores(ranks: Ranks, split: str) -> dict[str, float]:
    """Compute the metrics of ranks, one user after the other."""
    metrics = {}
    for ranking, all_ranks in ranks.items():
        user_ranks = [int(rank) for rank in all_ranks if rank > 0]
        metrics[f"{split}/{ranking}/mrr"] = mean(1 / rank for rank in user_ranks)
        for k in CUTOFFS:
            metrics[f"{split}/{ranking}/recall@{k}"] = mean(float(rank <= k) for rank in user_ranks)
            gains = [1 / np.log2(1 + rank) if rank <= k else 0.0 for rank in user_ranks]
            metrics[f"{split}/{ranking}/ndcg@{k}"] = float(mean(gains))
    return metrics


def draw(seed: int, strength: float, users: int = 200, items: int = 500) -> Ranks:
    """Draw random ranks, lower for a stronger model."""
    rng = np.random.default_rng(seed)
    share = rng.beta(1, strength, users)
    counts = {"uni100": 101, "full": items, "full_unseen": 0.9 * items}
    return {ranking: 1 + (count * share).astype(np.uint16) for ranking, count in counts.items()}


@cache
def validation(seed: int) -> dict[str, float]:
    """Return the validation metrics of every run with a seed."""
    return scores(draw(seed, 9.0), "val")


def set_value(config: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a dotted key."""
    *parents, last = key.split(".")
    for parent in parents:
        config = config.setdefault(parent, {})
    config[last] = value


def record_of(seed: int, sha256: str, ranks: Ranks | None) -> dict[str, Any]:
    """Return the record of a run, without its config."""
    val = validation(seed)
    return {
        "metrics": val | (scores(ranks, "test") if ranks else {}),
        "chosen": {name: {"monitor": f"val/{name}/ndcg@10", "epoch": epoch} for name, epoch in EPOCHS.items()},
        "ended_by": "patience",
        "dataset": {
            "sha256": sha256,
            "num_items": 500,
            "num_users": len(next(iter(ranks.values()))) if ranks else 200,
            "statistics": {"interactions": 1234},
        },
        "cost": {"parameters": 1000 * seed, "flops_per_query": 2e6, "train_seconds_per_epoch": 1.5, "epochs": 3},
        "seed": seed,
        "git_commit": "c0ffee",
        "versions": {"torch": "2.13.0"},
        "device": "cpu",
        "threads": 1,
        "history": {"val/uni100/ndcg@10": [0.05, 0.1, None, val["val/uni100/ndcg@10"]][: 2 + seed]},
        "pruned": False,
    }


def config_of(folder: Path, model: str, seed: int, keys: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a run with the values of some dotted keys."""
    config = {
        "seed": seed,
        "monitor": "val/uni100/ndcg@10",
        "select_per_ranking": True,
        "output_dir": str(folder),
        "stages": ["fit", "test"],
        "model": {"_target_": f"some.module.{model.upper()}", "dropout": 0.5},
        "dataset": {
            "ties": "file",
            "path": str(folder),
            "seed": seed,
            "negatives": {"count": 100, "exclude": "seen", "seed": seed},
        },
    }
    for key, value in keys.items():
        set_value(config, key, value)
    return config


def write_run(
    folder: Path,
    model: str,
    seed: int,
    ranks: Ranks | None = None,
    dataset: str = "beauty",
    sha256: str = SHA,
    error: str | None = None,
    keys: dict[str, Any] | None = None,
    facts: Ranks | None = None,
    **results: Any,
) -> Path:
    """Write a run's folder. With ranks or results the run has finished, with an error it has failed."""
    keys = keys or {}
    choices = {"dataset": dataset, "model": model, "hydra/launcher": "basic", "sweep": None}
    overrides = [f"dataset={dataset}", f"model={model}", *(f"{key}={value}" for key, value in keys.items())]
    overrides.append(f"seed={seed}")
    config = config_of(folder, model, seed, keys)
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"choices": choices}}}))
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"output_dir": "${hydra:runtime.output_dir}"}))
    if error is not None:
        (folder / "error.txt").write_text(f"Traceback (most recent call last):\n  ...\n{error}\n")
    if ranks is None and not results:
        return folder
    record = record_of(seed, sha256, ranks) | {"config": config, "overrides": overrides, "choices": choices}
    record["identity"] = identity_of(
        config, {key: record["dataset"][key] for key in ("sha256", "num_items", "num_users")}
    )
    (folder / "results.json").write_text(json.dumps(record | results))
    if ranks:
        write_arrays(folder / "ranks.npz", stored(ranks))
    if facts:
        fingerprint = np.array([fingerprint_of_test_items(record["identity"])])
        write_arrays(folder / "facts.npz", facts | {FINGERPRINT: fingerprint})
    return folder


def make_report(folder: Path, **arguments: Any) -> Report:
    """Write the report of a folder into it."""
    with (folder / "terminal.txt").open("w", encoding="utf-8") as file:
        return report([folder], folder / "report", console=Console(file=file, width=200), **arguments)


def block_of(folder: Path, model: str | None = None, metric: str | None = None) -> Block:
    """Return the block of a folder's runs, which are on one dataset."""
    (block,) = make_blocks(find_runs([folder]), model, metric, find_sweeps([folder]))
    return block


def table_of(block: Block) -> Table:
    """Return the main table of a block."""
    return comparison_table(block, compare(block))


def cells_of(table: Table) -> dict[str, dict[str, Cell]]:
    """Return the cells by row and column."""
    return {label: dict(zip(table.columns, cells, strict=True)) for label, cells in table.rows}


def kinds_of_users(users: int = 200) -> Ranks:
    """Draw how often each user's target occurs in training, and the length of each user's history."""
    rng = np.random.default_rng(0)
    return {
        "target_count": rng.geometric(0.05, users).astype(np.uint16) - 1,
        "history_len": 3 + rng.geometric(0.15, users).astype(np.uint8),
    }


def write_sweep(folder: Path) -> Path:
    """Write the runs of three models with two seeds each."""
    for model, strength in (("sasrec", 4.0), ("core", 5.0), ("adamct", 8.0)):
        for seed in (1, 2):
            ranks = draw(seed + int(strength) * 10, strength)
            write_run(folder / f"{model}-{seed}", model, seed, ranks, facts=kinds_of_users())
    return folder


BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def write_multirun(folder: Path, task: Sequence[str], target: str = BASIC, **params: str) -> None:
    """Write the config of a sweep over the values in ``task`` and ``params``."""
    hydra = {"sweeper": {"_target_": target, "params": params}, "overrides": {"task": list(task)}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": hydra}))


def texts(table: Table) -> dict[str, list[str]]:
    """Return the texts of each row's cells."""
    return {label: [cell.text for cell in cells] for label, cells in table.rows}


def write_cases(folder: Path, labels: list[str]) -> None:
    """Write the config of a sweep over some labels."""
    hydra = {"sweeper": {"_target_": "some.Cases", "jobs": [["seed=1", f"label='{label}'"] for label in labels]}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
