"""The smaller tables: tests, both rankings side by side, cost."""

from collections.abc import Sequence
from statistics import median

from adamct.report.blocks import Block
from adamct.report.statistics import RESAMPLES, Comparison, agreement
from adamct.report.table import NONE, RHO, Table, plain
from adamct.report.variants import Variant

COSTS = {
    "parameters": ("parameters", 1.0, ",.0f"),
    "MFLOPs a query": ("flops_per_query", 1e-6, ",.2f"),
    "s an epoch": ("train_seconds_per_epoch", 1.0, ",.2f"),
    "s a validation": ("validation_seconds", 1.0, ",.2f"),
    "epochs": ("epochs", 1.0, ",.0f"),
    "peak MiB": ("peak_memory_mib", 1.0, ",.0f"),
}
"""The cost table's columns: the record's key, its factor and its format."""


def significance_table(block: Block, comparisons: Sequence[Comparison]) -> Table | None:
    """What the tests of a block found; None where there was nothing to test."""
    if block.split != "test" or not block.others:
        return None
    rows = [
        (
            f"{test.metric.replace('/', ' ')}: {test.other}",
            plain(
                [
                    f"{test.difference:+.4f}",
                    f"{test.low:+.4f} to {test.high:+.4f}",
                    p_value(test.p),
                    p_value(test.p_holm) + " *" * test.significant,
                    f"{test.wins} of {test.seeds}",
                    f"{test.users:,}",
                ]
            ),
        )
        for test in comparisons
    ]
    said = [
        f"Per user, the metric of {block.chosen.name} minus the other's, averaged over the seeds both have; mean over "
        f"users with its 95 % paired bootstrap interval ({RESAMPLES:,} resamples of the users), Wilcoxon signed-rank "
        "test (two-sided; users without a difference count half for either side), Holm's correction within each "
        "ranking. * at 5 %. The intervals are over users: how much seeds vary is in the first table.",
    ]
    missing = [variant.name for variant in block.others if variant.name not in {test.other for test in comparisons}]
    if missing:
        said.append(f"No tested seed in common, so not compared: {', '.join(missing)}.")
    columns = ("difference", "95 % interval", "p", "p (Holm)", "seeds won", "users")
    return Table(
        f"{block.slug}_tests",
        f"{block.dataset}: {block.chosen.name} against each other",
        "against",
        columns,
        tuple(rows),
        tuple(said),
    )


def p_value(p: float) -> str:
    """Four places, or that it is less."""
    return f"{p:.4f}" if p >= 1e-4 else "< 0.0001"


def rankings_table(block: Block) -> Table | None:
    """A variant's metric and place among sampled items and among all; None without two rankings or variants."""
    name = block.metric.partition("/")[2]
    metrics = [f"{protocol}/{name}" for protocol in block.protocols if f"{protocol}/{name}" in block.metrics]
    if len(metrics) < 2 or not block.others:
        return None
    scores = {variant.name: [block.mean(variant, metric) for metric in metrics] for variant in block.variants}
    complete = {name: [v for v in values if v is not None] for name, values in scores.items() if None not in values}
    of_metric = list(zip(*complete.values(), strict=True))
    rows = []
    for variant, values in sorted(complete.items(), key=lambda item: item[1], reverse=True):
        places = [1 + sum(value > mine for value in of) for mine, of in zip(values, of_metric, strict=True)]
        texts = [text for value, place in zip(values, places, strict=True) for text in (f"{value:.4f}", str(place))]
        rows.append((variant, plain(texts)))
    heads = [(metric.replace("/", " "), f"place in {metric.partition('/')[0]}") for metric in metrics]
    columns = tuple(text for head in heads for text in head)
    title = f"{block.dataset}: both rankings"
    return Table(f"{block.slug}_rankings", title, "model", columns, tuple(rows), orders(of_metric))


def orders(scores: Sequence[tuple[float, ...]]) -> tuple[str, ...]:
    """How far the first and the last ranking agree on the order of at least three variants."""
    if not scores or len(scores[0]) < 3:
        return ()
    tau, rho = agreement(scores[0], scores[-1])
    return (f"Agreement of the two orders of {len(scores[0])}: Kendall's τ = {tau:.2f}, Spearman's {RHO} = {rho:.2f}.",)


def cost_table(block: Block) -> Table:
    """What each variant costs, the median over its seeds."""
    rows = [
        (variant.name, plain([cost(variant, key, factor, form) for key, factor, form in COSTS.values()]))
        for variant in block.variants
    ]
    devices = sorted({f"{run.results.get('device')}, threads: {run.results.get('threads')}" for run in block.runs})
    note = f"Median over seeds, on {'; '.join(devices)}. A query: one user's history at full length."
    peak = "Peak on a CPU: of the whole process, which jobs that ran one after another share."
    return Table(f"{block.slug}_cost", f"{block.dataset}: cost", "model", tuple(COSTS), tuple(rows), (note, peak))


def cost(variant: Variant, key: str, factor: float, form: str) -> str:
    """A cost's median over the seeds that have it."""
    values = [run.results["cost"][key] for run in variant.runs if run.results["cost"].get(key) is not None]
    return format(median(values) * factor, form) if values else NONE
