"""The evaluation of a file of recommendations, and its run folder."""

import json
from collections.abc import Sequence
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich import get_console

from adamct.dataset import Dataset
from adamct.errors import require, writing
from adamct.evaluate.counts import Counted, count, lines, recorded
from adamct.evaluate.known import Ranking, metrics, rankings
from adamct.evaluate.lists import Lists
from adamct.evaluate.numbered import number
from adamct.evaluate.ranks import Dropped, TestItems, no_ranks, rank_lists, test_items
from adamct.evaluation.storage import stored
from adamct.identity import identity_of
from adamct.runs.folder import RANKS, RESULTS, RunFolder, write_arrays, write_first
from adamct.runs.provenance import provenance
from adamct.training.record import facts_of, reference_scores, save_facts
from adamct.training.tables import scores_table


def evaluate(lists: Lists, names: dict[str, str], data: Dataset, config: dict[str, Any], folder: Path) -> None:
    """Rank the lists of a file, write their run folder, and print the metrics and the counts.

    Args:
        lists: the recommendations.
        names: the names of the dataset and of the model in reports, by config group.
        data: the dataset.
        config: the resolved config of a run.
        folder: the run folder.

    Raises:
        InputError: the folder holds another run, the file cannot be used, or no metric is known.
    """
    kept = {key: config[key] for key in ("seed", "cutoffs", "dataset")}
    kept |= {"monitor": None, "stages": ["test"], "ckpt": None}
    with lists.path.open("rb") as file:
        source = {"file": lists.path.name, "sha256": file_digest(file, "sha256").hexdigest()}
    facts = {key: value for key, value in data.spec._asdict().items() if isinstance(value, int)}
    identity = {**identity_of(kept, {**data.identity, **facts}), "recommendations": source["sha256"]}
    with RunFolder(folder) as run:
        run.claim(identity, kept["stages"])
        counted, items, ranked = rank(lists, data, config["cutoffs"], folder)
        scores = known_metrics(ranked, items, data, config["cutoffs"])
        counts = list(lines(counted, ranked))
        require(bool(scores), f"{lists.path}: gives no metric; {'; '.join(counts)}")
        results: dict[str, Any] = {
            "metrics": scores,
            "references": reference_scores(config["references"], data, config["cutoffs"]),
            "ended_by": "nothing to train",
            "identity": identity,
            "dataset": {**identity["dataset"], **facts_of(data)},
            "cost": {},
            "seed": config["seed"],
            **provenance(torch.device("cpu")),
            "config": kept,
            "overrides": [],
            "choices": names,
            "recommendations": source | recorded(counted, ranked),
        }
        save(folder, results, ranked, items, data)
    get_console().print(scores_table({names["model"]: scores, **results["references"]}, {}, learns=False))
    print("\n".join(counts))


def rank(
    lists: Lists, data: Dataset, cutoffs: Sequence[int], folder: Path
) -> tuple[Counted, TestItems, tuple[Ranking, ...]]:
    """Rank the lists of a file by groups of users. A temporary folder in ``folder`` holds its rows as numbers."""
    items = test_items(data)
    ranks = no_ranks(len(items.user))
    with writing(folder), TemporaryDirectory(prefix=".numbers", dir=folder) as numbers:
        numbered = number(lists, data.user_ids, data.item_ids, Path(numbers))
        parts = [rank_lists(rows, items, ranks) for rows in numbered.groups()]
    dropped = Dropped(*map(sum, zip(*parts, strict=True)))
    require(bool(ranks.length.any()), f"{lists.path}: no user of the test has a list")
    counted = count(lists.order, numbered, dropped, items, ranks, data.user_ids)
    return counted, items, rankings(items, ranks, cutoffs)


def known_metrics(
    ranked: Sequence[Ranking], items: TestItems, data: Dataset, cutoffs: Sequence[int]
) -> dict[str, float]:
    """Return the known metrics of all rankings, by their names in a record."""
    spec = data.spec
    return {
        key: value
        for ranking in ranked
        for key, value in metrics(ranking, items.user, spec.num_users, cutoffs, spec.item_counts).items()
    }


def save(folder: Path, results: dict[str, Any], ranked: Sequence[Ranking], items: TestItems, data: Dataset) -> None:
    """Write the record, the known ranks, and the facts of the test items."""
    ranks = {}
    for ranking in ranked:
        if ranking.unknown is None:
            ranks[ranking.name] = np.zeros(data.spec.num_users, np.int64)
            ranks[ranking.name][items.user] = ranking.ranks
    write_arrays(folder / RANKS, stored(ranks))
    save_facts(folder, results["identity"], data)
    write_first(folder / RESULTS, json.dumps(results, indent=2) + "\n")
