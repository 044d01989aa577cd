"""The model card of a run's weights: how they score, by what protocol, and what they were trained on."""

import shlex
from collections.abc import Sequence
from typing import Any

from adamct.errors import InputError
from adamct.evaluation.names import Metric, candidates, in_order
from adamct.identity import EXECUTION, SOURCE, named

BEST = "best.ckpt"
USE = (
    "```python",
    "import adamct",
    "",
    'adamct.load("FOLDER or OWNER/NAME").recommend([["the id of an item", "the id of the next item"]], k=10)',
    "```",
    "",
    "`items.json` has the ids of all items.",
)
"""How to use a model: the folder, or its name on the Hub."""


def rankings_of(results: dict[str, Any], file: str) -> list[str]:
    """Return the rankings that a run tested with the weights of one of its checkpoints.

    Args:
        results: the content of the run's ``results.json``.
        file: the checkpoint's name.

    Raises:
        InputError: the run tested no ranking with it.
    """
    files = {
        ranking: BEST if chosen["monitor"] == results["config"]["monitor"] else f"best_{ranking}.ckpt"
        for ranking, chosen in results["chosen"].items()
        if chosen["monitor"] is not None and f"test/{ranking}/mrr" in results["metrics"]
    }
    rankings = in_order(ranking for ranking, name in files.items() if name == file)
    if not rankings:
        names = ", ".join(sorted(set(files.values()))) or "none of its checkpoints"
        raise InputError(f"{file}: the run tested no ranking with it; it tested {names}")
    return rankings


def model_card(results: dict[str, Any], name: str, rankings: Sequence[str]) -> str:
    """Return the text of a model card.

    Args:
        results: the content of the run's ``results.json``.
        name: the name of the model and its dataset.
        rankings: the rankings that were tested with these weights.
    """
    lines = [
        *("---", "library_name: adamct", "tags: [recommender-system, sequential-recommendation]", "---", ""),
        *(f"# {name}", "", "A sequential recommender: it scores the items that may come after a history of items.", ""),
        *USE,
        *("", "## Test metrics", "", *metrics_table(results, name, rankings)),
        *("", "## Protocol", "", *protocol(results, rankings)),
        *("", "## Training", "", *training(results)),
    ]
    return "\n".join([*lines, ""])


def metrics_table(results: dict[str, Any], name: str, rankings: Sequence[str]) -> list[str]:
    """Return the lines of a table with a row for the model and each reference in each ranking."""
    metrics = [Metric.parse(key) for key in results["metrics"]]
    names = [metric.name for metric in metrics if (metric.split, metric.ranking) == ("test", rankings[0])]
    shown = [metric for metric in names if metric.startswith(("recall", "ndcg", "mrr"))]
    scores = {name: results["metrics"], **results["references"]}
    rows = [
        [ranking, model, *(f"{values[f'test/{ranking}/{metric}']:.4f}" for metric in shown)]
        for ranking in rankings
        for model, values in scores.items()
    ]
    return [f"| {' | '.join(cells)} |" for cells in (["ranking", "", *shown], ["---"] * (len(shown) + 2), *rows)]


def protocol(results: dict[str, Any], rankings: Sequence[str]) -> list[str]:
    """Return the lines about the test's protocol."""
    data, chosen = results["dataset"], results["chosen"][rankings[0]]
    negatives, split = data["negatives"], data.get("split")  # the embedded dataset has no choice of splits
    facts = (data["num_items"], negatives["count"], negatives["exclude"])
    lines = [f"- `{ranking}` ranks the target {candidates(ranking, *facts)}." for ranking in rankings]
    if split is not None:
        arguments = ", ".join(f"{key}={value}" for key, value in split.items() if key != "_target_")
        lines.append(f"- The split is `{split['_target_'].rpartition('.')[2]}({arguments})`.")
        lines.append(f"- A user's items of the same time are in the order `dataset.ties={data['ties']}`.")
    return [
        *lines,
        "- A target that ties with other items ranks behind them.",
        f"- Histories keep the latest {data['max_len']} items.",
        f"- `{chosen['monitor']}` chose these weights, of epoch {chosen['epoch']}.",
    ]


def training(results: dict[str, Any]) -> list[str]:
    """Return the lines of a table with what the model was trained on and by."""
    data = results["dataset"]
    counts = data["statistics"]
    facts = {
        "interactions, users, items": ", ".join(f"{counts[key]:,}" for key in ("interactions", "users", "items")),
        "SHA-256 of the prepared data": code(data["sha256"]),
        "SHA-256 of the file": code(data["source_sha256"]),
        "seed": results["seed"],
        "commit": code(results["git_commit"]),
        "versions": ", ".join(f"{key} {value}" for key, value in results["versions"].items()),
        "device": results["device"],
        "command": f"`adamct run {' '.join(public_overrides(results))}`",
    }
    return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items())]


def code(text: str | None) -> str:
    """Return a text in backticks, and ``unknown`` for None."""
    return "unknown" if text is None else f"`{text}`"


def public_overrides(results: dict[str, Any]) -> list[str]:
    """Return the overrides of a run for a shell, without those of its place, such as paths of its machine."""
    hidden = (*EXECUTION, *SOURCE, "ckpt", "predict")
    return [
        shlex.quote(text) for text in results["overrides"] if not named(text.partition("=")[0].lstrip("+~"), hidden)
    ]
