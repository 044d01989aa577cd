"""The smaller tables: tests, the rankings side by side, cost."""

from collections.abc import Sequence
from itertools import combinations
from statistics import median

from adamct.report.blocks import Block
from adamct.report.comparison import in_paper, written
from adamct.report.paper import costs
from adamct.report.resampling import RESAMPLES
from adamct.report.statistics import Comparison, agreement, seeds_note
from adamct.report.table import NONE, RHO, Cell, Table, plain
from adamct.report.variants import Variant
from adamct.runs.folder import RANKS

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
        f"The metric of {block.chosen.name} minus the other's, paired by user and by the seeds both have. The "
        f"interval (95 %) and p (two-sided) come from the same {RESAMPLES:,} resamples: p is below .05 exactly where "
        f"the interval excludes 0, and never below {1 / (RESAMPLES + 1):.4f}. Holm corrects p within each "
        "ranking. * at 5 %.",
        *seeds_note(comparisons),
    ]
    missing = [variant.name for variant in block.others if variant.name not in {test.other for test in comparisons}]
    if missing:
        said.append(f"No tested seed in common, so not compared: {', '.join(missing)}.")
    unranked = [variant.name for variant in block.variants if any(run.tested and not run.ranks for run in variant.runs)]
    if unranked:
        said.append(f"Their {RANKS} is not there, so these seeds are not compared: {', '.join(unranked)}.")
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
    """A variant's metric and place in each ranking; None without two rankings or variants."""
    name = block.metric.partition("/")[2]
    metrics = block.in_each_ranking(name)
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
    title = f"{block.dataset}: the rankings side by side"
    rankings = [metric.partition("/")[0] for metric in metrics]
    return Table(f"{block.slug}_rankings", title, "model", columns, tuple(rows), orders(rankings, of_metric))


def orders(rankings: Sequence[str], scores: Sequence[tuple[float, ...]]) -> tuple[str, ...]:
    """Say how far each pair of rankings agrees on the order of at least three variants."""
    if not scores or len(scores[0]) < 3:
        return ()
    said = []
    for (one, ours), (other, theirs) in combinations(zip(rankings, scores, strict=True), 2):
        agreed = agreement(ours, theirs)
        if agreed is not None:
            tau, rho = agreed
            said.append(f"{one} and {other}: Kendall's τ = {tau:.2f}, Spearman's {RHO} = {rho:.2f}.")
    if not said:
        return ()
    return (f"Agreement on the order of {len(scores[0])} models.", *said)


def cost_tables(block: Block) -> list[Table]:
    """What each variant costs, the median over its seeds; then only of those of one hidden size, where some are."""
    sizes = [variant.runs[0].config.get("model.hidden_size") for variant in block.variants]
    size = max(sizes, key=sizes.count)
    shared = [variant for variant, of_variant in zip(block.variants, sizes, strict=True) if of_variant == size]
    models = {variant.model for variant in shared}
    tables = [cost_table(block, block.variants, f"{block.slug}_cost", "cost")]
    if size is not None and len(models) > 1 and len(shared) < len(block.variants):
        tables.append(cost_table(block, shared, f"{block.slug}_cost_{size}", f"cost at hidden size {size}"))
    return tables


def cost_table(block: Block, variants: Sequence[Variant], name: str, title: str) -> Table:
    """A row for each variant, and below it what the paper has."""
    rows, score = [], written(block.metric)
    for variant in variants:
        mean = block.mean(variant, block.metric)
        texts = [cost(variant, key, factor, form) for key, factor, form in COSTS.values()]
        rows.append((variant.name, plain([*texts, NONE if mean is None else f"{mean:.4f}"])))
        theirs = [paper_cost(block, variant, *quantity) for quantity in COSTS.values()]
        if any(theirs):
            found = in_paper(block, variant, block.metric)
            last = "" if found is None or found.value is None else f"{found.value:.4f}"
            rows.append(("paper", tuple(Cell(text, aside=True) for text in (*theirs, last))))
    devices = sorted({f"{run.results.get('device')}, threads: {run.results.get('threads')}" for run in block.runs})
    said = [
        f"Median over seeds, on {'; '.join(devices)}. A query: the longest history of a user, at most max_len items, a "
        "multiplication and an addition being two operations.",
        "Peak on a CPU: of the whole process, which jobs that ran one after another share.",
    ]
    if any(label == "paper" for label, _ in rows):
        said.append(
            "Paper: Tables 6, 9 and 10 of AdaMCT (CIKM '23), on an A100, of its sampled validation alone, with AdaMCT "
            "at the hidden size of its best and the others at 64."
        )
    return Table(name, f"{block.dataset}: {title}", "model", (*COSTS, score), tuple(rows), tuple(said))


def paper_cost(block: Block, variant: Variant, key: str, factor: float, form: str) -> str:
    """What the paper has for a model's cost, if it has it and the variant is the model as the paper has it."""
    value = costs().get((block.dataset, variant.model, key)) if variant.known and variant.label is None else None
    return "" if value is None else format(value * factor, form)


def cost(variant: Variant, key: str, factor: float, form: str) -> str:
    """A cost's median over the seeds that have it."""
    values = [run.results["cost"][key] for run in variant.runs if run.results["cost"].get(key) is not None]
    return format(median(values) * factor, form) if values else NONE
