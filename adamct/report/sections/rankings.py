"""The rankings side by side: the metric and the place of each variant in each ranking."""

from collections.abc import Sequence
from itertools import combinations

from adamct.report.inputs.blocks import Block
from adamct.report.outputs.table import NONE, RHO, Table, plain
from adamct.report.statistics import agreement


def rankings_table(block: Block) -> Table | None:
    """Make a table of each variant's metric and place in each ranking. Return None without two of either."""
    name = block.metric.name
    metrics = block.in_each_ranking(name)
    if len(metrics) < 2 or not block.others:
        return None
    scores = {variant.name: [variant.mean(metric) for metric in metrics] for variant in block.variants}
    columns = list(zip(*scores.values(), strict=True))
    rows = []
    for variant, values in sorted(scores.items(), key=lambda item: [value or 0.0 for value in item[1]], reverse=True):
        texts = [text for own, column in zip(values, columns, strict=True) for text in value_and_place(own, column)]
        rows.append((variant, plain(texts)))
    complete = [[value for value in values if value is not None] for values in scores.values() if None not in values]
    heads = [(metric.heading, f"place in {metric.ranking}") for metric in metrics]
    title = f"{block.title}: the rankings side by side"
    rankings = [metric.ranking for metric in metrics]
    return Table(
        name=f"{block.slug}_rankings",
        title=title,
        corner="model",
        columns=tuple(text for head in heads for text in head),
        rows=tuple(rows),
        notes=agreement_notes(rankings, list(zip(*complete, strict=True))),
        compared=block.chosen.name,
    )


def value_and_place(own: float | None, scores: Sequence[float | None]) -> tuple[str, str]:
    """Write a variant's score and its place among all scores."""
    if own is None:
        return NONE, NONE
    return f"{own:.4f}", str(1 + sum(score > own for score in scores if score is not None))


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
