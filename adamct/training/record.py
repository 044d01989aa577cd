"""The record of a run: ``results.json``, ``ranks.npz`` and ``facts.npz``."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from adamct.batch import EvaluationBatch, Ranks
from adamct.dataset import Dataset, Ranker
from adamct.evaluation.metrics import RankingMetrics
from adamct.evaluation.names import names_of_rankings
from adamct.evaluation.ranking import rank_targets
from adamct.evaluation.storage import FINGERPRINT, smallest, stored
from adamct.identity import fingerprint_of_test_items
from adamct.loggers.base import log_results
from adamct.models.base import NextItemModel
from adamct.runs.config import start_of_run
from adamct.runs.folder import FACTS, RANKS, RESULTS, write_arrays, write_first
from adamct.runs.provenance import provenance
from adamct.training.build import model_constructor
from adamct.training.callbacks import History, Timing
from adamct.training.cost import cost
from adamct.training.module import NextItemModule
from adamct.training.selection import Chosen
from adamct.training.stages import Outcome, callback_of, callbacks_of, pruned
from adamct.training.tables import scores_table, show

log = logging.getLogger(__name__)


def record(
    folder: Path,
    trainer: pl.Trainer,
    module: NextItemModule,
    data: Dataset,
    outcome: Outcome,
    config: dict[str, Any],
) -> None:
    """Log the results and write ``results.json`` and, if the run was tested, its arrays. Show the scores.

    Args:
        folder: the run's folder.
        trainer: the trainer of the run.
        module: the trained or tested module.
        data: the data of the run.
        outcome: the chosen weights, and the reason why training ended.
        config: the run's resolved config. The scores of its ``references`` stand beside the module's.
    """
    tested = module.scores.get("test")
    # All processes take part.
    references = reference_scores(config["references"], data, config["cutoffs"]) if tested else {}
    if not trainer.is_global_zero:
        return
    timing = callback_of(trainer, Timing)
    history = next((callback.values for callback in callbacks_of(trainer) if isinstance(callback, History)), {})
    best = validated(outcome.chosen)
    costs = cost(module.model, module.device, data.spec.max_len, data.longest_history, timing)
    log_results(trainer, best, costs)
    results = {
        "metrics": {**best, **(tested or {})},
        "references": references,
        "chosen": weights(outcome.chosen),
        "ended_by": outcome.ended_by,
        "identity": module.identity,
        "dataset": {**module.identity["dataset"], **facts_of(data)},
        "cost": costs,
        "seed": module.seed,
        **provenance(module.device),
        "config": config,
        **start_of_run(),
        "pruned": pruned(trainer),
        "history": history,
    }
    if tested:
        save_ranks(folder, module)
        save_facts(folder, module.identity, data)
        scores = {type(module.model).__name__: tested, **references}
        show(scores_table(scores, weights(outcome.chosen), module.learns))
    write_first(folder / RESULTS, json.dumps(results, indent=2) + "\n")
    log.info("results: %s", folder / RESULTS)


def facts_of(data: Dataset) -> dict[str, Any]:
    """Return the source and the statistics of a dataset."""
    return {
        "source_sha256": data.source_sha256,
        "statistics": data.statistics._asdict(),
        "held_out": data.held_out._asdict(),
    }


def validated(chosen: Sequence[Chosen]) -> dict[str, float]:
    """Return the validation metrics of each ranking, with the weights that are chosen for it."""
    return {
        name: value
        for choice, _, scores in chosen
        for ranking in choice.rankings
        for name, value in scores.items()
        if name.startswith(f"val/{ranking}/")
    }


def weights(chosen: Sequence[Chosen]) -> dict[str, dict[str, Any]]:
    """Return the metric that chose the weights, and their epoch, which counts from 1, by ranking."""
    return {
        ranking: {"monitor": choice.monitor, "epoch": epoch + 1}
        for choice, epoch, _ in chosen
        for ranking in choice.rankings
    }


def reference_scores(
    nodes: dict[str, dict[str, Any]], data: Dataset, cutoffs: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Return the test metrics of reference models and of the data's own rankers, by their names.

    Args:
        nodes: the configs of the models, by name.
        data: the data to test on.
        cutoffs: the k of the metrics.
    """
    names = names_of_rankings(data.num_negatives)
    rankers = {name: ranker_by(model_constructor(node)(data.spec)) for name, node in nodes.items()} | data.references()
    metrics = {name: [RankingMetrics(data.spec.num_users, cutoffs) for _ in names] for name in rankers}
    for batch in data.test_dataloader():
        for name, ranker in rankers.items():
            for metric, rank in zip(metrics[name], ranker(batch), strict=True):
                metric.to(rank.device).update(batch.histories.user, rank)
    return {
        name: {
            f"test/{ranking}/{key}": value
            for ranking, metric in zip(names, metrics[name], strict=True)
            for key, value in metric.compute().items()
        }
        for name in rankers
    }


def ranker_by(model: NextItemModel) -> Ranker:
    """Return a ranker by a model's scores."""

    def rank(batch: EvaluationBatch) -> Ranks:
        histories, candidates = batch
        return rank_targets(model.to(histories.user.device).scores(histories), histories.target, candidates)

    return rank


def save_ranks(folder: Path, module: NextItemModule) -> None:
    """Write the ranks of all test items in each ranking, in the order of user ids."""
    write_arrays(folder / RANKS, stored({name: module.metric("test", name).joined.numpy() for name in module.rankings}))


def save_facts(folder: Path, identity: dict[str, Any], data: Dataset) -> None:
    """Write the facts of all test items, in the order of user ids, and the fingerprint of these items."""
    facts = {name: smallest(values) for name, values in data.test_facts()._asdict().items()}
    write_arrays(folder / FACTS, facts | {FINGERPRINT: np.array([fingerprint_of_test_items(identity)])})
