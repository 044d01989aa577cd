"""The rankings side by side: the metric and the place of each variant in each ranking."""

from collections.abc import Sequence
from itertools import combinations

from adamct.report.inputs.blocks import Block
from adamct.report.outputs.table import RHO, Table, plain
from adamct.report.statistics import agreement


def rankings_table(block: Block) -> Table | None:
    """Make a table of each variant's metric and place in each ranking. Return None without two of either."""
    name = block.metric.name
    metrics = block.in_each_ranking(name)
    if len(metrics) < 2 or not block.others:
        return None
    scores = {variant.name: [variant.mean(metric) for metric in metrics] for variant in block.variants}
    complete = {name: [v for v in values if v is not None] for name, values in scores.items() if None not in values}
    scores_by_metric = list(zip(*complete.values(), strict=True))
    rows = []
    for variant, values in sorted(complete.items(), key=lambda item: item[1], reverse=True):
        places = [
            1 + sum(value > own for value in scores) for own, scores in zip(values, scores_by_metric, strict=True)
        ]
        texts = [text for value, place in zip(values, places, strict=True) for text in (f"{value:.4f}", str(place))]
        rows.append((variant, plain(texts)))
    heads = [(metric.heading, f"place in {metric.ranking}") for metric in metrics]
    columns = tuple(text for head in heads for text in head)
    title = f"{block.title}: the rankings side by side"
    rankings = [metric.ranking for metric in metrics]
    return Table(
        name=f"{block.slug}_rankings",
        title=title,
        corner="model",
        columns=columns,
        rows=tuple(rows),
        notes=agreement_notes(rankings, scores_by_metric),
        compared=block.chosen.name,
    )


def agreement_notes(rankings: Sequence[str], scores: Sequence[tuple[float, ...]]) -> tuple[str, ...]:
    """Return notes on how far each pair of rankings agrees on the order of the variants; empty below three variants."""
    if not scores or len(scores[0]) < 3:
        return ()
    sentences = []
    for (one, ours), (other, theirs) in combinations(zip(rankings, scores, strict=True), 2):
        agreed = agreement(ours, theirs)
        if agreed is not None:
            tau, rho = agreed
            sentences.append(f"{one} and {other}: Kendall's τ = {tau:.2f}, Spearman's {RHO} = {rho:.2f}.")
    if not sentences:
        return ()
    return (f"Agreement on the order of {len(scores[0])} variants.", *sentences)
