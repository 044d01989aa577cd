"""Blocks of comparable runs: the variants on one dataset under one protocol, and the metric to compare them by."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from adamct.errors import InputError, require
from adamct.evaluation.gains import is_mean_over_users
from adamct.evaluation.names import FULL_UNSEEN, Metric, in_order
from adamct.identity import PROTOCOL, differences
from adamct.report.inputs.names import file_names, numbered
from adamct.report.inputs.planned_jobs import planned_labels
from adamct.report.inputs.runs import Run, Sweep
from adamct.report.inputs.titles import STUDIES, block_title, model_title
from adamct.report.inputs.variants import Variant, apart, group

DEFAULT_MODEL = "adamct"
UNMONITORED = Metric("val", FULL_UNSEEN, "ndcg@10")
"""The metric in place of the monitored one if no run has a validation."""
Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class Block:
    """The finished runs of one dataset, and of one study (a sweep of ``conf/sweep``) or of none.

    Attributes:
        dataset: the dataset's name.
        study: the study's name; None if the runs are of none.
        title: the study and the dataset, as readers know them. It is unique in a report.
        slug: the dataset, and the study if the dataset has several blocks, in file names.
        variants: the variants in the order of rows; the compared one comes first.
        metric: the metric that is tested and plotted.
        monitor: the validation metric that the runs monitored.
        split: the split of the shown metrics; val if no run was tested.
    """

    dataset: str
    study: str | None
    title: str
    slug: str
    variants: tuple[Variant, ...]
    metric: Metric
    monitor: Metric
    split: Literal["test", "val"]

    @property
    def chosen(self) -> Variant:
        """The variant that the others are compared with."""
        return self.variants[0]

    @property
    def others(self) -> tuple[Variant, ...]:
        """All variants except the compared one."""
        return self.variants[1:]

    @property
    def subject(self) -> str:
        """The compared models or cases, in a few words."""
        if self.study is not None:
            return STUDIES[self.study][1] if self.study in STUDIES else "a study"
        first, *rest = dict.fromkeys(model_title(variant.model) for variant in self.variants)
        if len(rest) > 1:
            return f"{first} and {len(rest)} other models"
        if rest:
            return f"{first} and {rest[0]}"
        return f"{len(self.variants)} variants of {first}" if self.others else first

    @property
    def compares_models(self) -> bool:
        """Whether it has several models, and each of them once."""
        return len(self.variants) == len({variant.model for variant in self.variants}) > 1

    @property
    def runs(self) -> list[Run]:
        """The runs of all variants."""
        return [run for variant in self.variants for run in variant.runs]

    @property
    def metrics(self) -> list[Metric]:
        """All metrics of the block's split."""
        metrics = map(Metric.parse, dict.fromkeys(key for run in self.runs for key in run.metrics))
        return [metric for metric in metrics if metric.split == self.split]

    @property
    def rankings(self) -> list[str]:
        """The rankings in which any run has metrics, in the order of the report."""
        return in_order(metric.ranking for metric in self.metrics)

    def in_each_ranking(self, name: str) -> list[Metric]:
        """Return the metric with this name, such as ``ndcg@10``, in each ranking that has it."""
        metrics = self.metrics
        return [metric for ranking in self.rankings if (metric := Metric(self.split, ranking, name)) in metrics]

    def best_by_validation(self, count: int) -> list[Variant]:
        """Return the compared variant and the best others by validation, ``count`` in all, in the order of rows.

        Variants without a validation come before the others: they are the reader's own.
        """

        def key(variant: Variant) -> tuple[bool, float]:
            return variant.mean(self.monitor) is None, validation(variant, self.monitor)

        best = sorted(self.others, key=key, reverse=True)[: count - 1]
        return [variant for variant in self.variants if variant in (*best, self.chosen)]


def make_blocks(
    runs: Sequence[Run],
    model: str | None,
    metric: str | None,
    sweeps: Sequence[Sweep] = (),
    folders: Sequence[Path] = (),
) -> list[Block]:
    """Make a block for each dataset and study that has finished runs.

    Args:
        runs: runs of any status.
        model: the compared model, or the whole name of one variant. None is the variant of the run in ``folders``, or
            with the first label, AdaMCT, or else the best by validation.
        metric: the tested metric, with or without its split. None is the monitored one, or if the compared variant
            lacks it, the same metric in another ranking.
        sweeps: the sweeps of the runs. If no model is named, the variant with the first label is compared with others.
        folders: the folders that were given to the report. The first that is a run's own folder has the run to compare.

    Raises:
        InputError: runs on one dataset differ in data or protocol, two runs of a variant have the same seed, no run
            has the model, a block lacks the metric, or the metric is not a mean over users.
    """
    finished = apart([run for run in runs if run.status == "finished"], folders)
    keys = list(dict.fromkeys((run.dataset, run.choices.get("sweep")) for run in finished))
    counts = Counter(dataset for dataset, _ in keys)
    titles = numbered(block_title(*key) for key in keys)
    names = [dataset if study is None or counts[dataset] == 1 else f"{dataset} {study}" for dataset, study in keys]
    blocks = [
        make_block(
            title=title,
            slug=slug,
            runs=[run for run in finished if (run.dataset, run.choices.get("sweep")) == key],
            model=model,
            metric=metric,
            sweeps=sweeps,
            folders=folders,
        )
        for key, title, slug in zip(keys, titles, file_names(names), strict=True)
    ]
    known = {run.model for run in runs} | {variant.name for block in blocks for variant in block.variants}
    require(model is None or model in known, f"--model {model}: must be one of {', '.join(sorted(known))}")
    return blocks


def make_block(
    title: str,
    slug: str,
    runs: Sequence[Run],
    model: str | None,
    metric: str | None,
    sweeps: Sequence[Sweep],
    folders: Sequence[Path],
) -> Block:
    """Make the block of one dataset's and study's finished runs."""
    dataset = runs[0].dataset
    require_comparable(dataset, runs)
    monitors = Counter(run.config["monitor"] for run in runs if run.config["monitor"] is not None)
    monitor = Metric.parse(monitors.most_common(1)[0][0]) if monitors else UNMONITORED
    labels = planned_labels([sweep for sweep in sweeps if any(run.folder.is_relative_to(sweep.folder) for run in runs)])
    variants = group(runs, labels)
    chosen = choose_compared(variants, model, labels, monitor, folders)
    split = "test" if any(run.tested for run in runs) else "val"
    block = Block(
        dataset=dataset,
        study=runs[0].choices.get("sweep"),
        title=title,
        slug=slug,
        variants=(chosen, *(variant for variant in variants if variant is not chosen)),
        metric=monitor,
        monitor=monitor,
        split=split,
    )
    metrics = {one.short: one for one in block.metrics if is_mean_over_users(one.name)}
    tested = default_metric(block) if metric is None else metric.removeprefix("test/").removeprefix("val/")
    require(tested in metrics, f"--metric {tested}: must be one of {', '.join(metrics)} on {dataset}")
    return replace(block, metric=metrics[tested])


def default_metric(block: Block) -> str:
    """Return the monitored metric, or the first similar one that the compared variant has, without its split."""
    similar = block.in_each_ranking(block.monitor.name)
    preferred = [block.monitor._replace(split=block.split), *similar, *block.metrics]
    measured = [metric for metric in preferred if block.chosen.mean(metric) is not None]
    return next((metric.short for metric in measured if is_mean_over_users(metric.name)), block.monitor.short)


def require_comparable(dataset: str, runs: Sequence[Run]) -> None:
    """Refuse runs that were not measured on the same data under the same protocol.

    Runs with the same seed must also have the same negatives.
    """
    of_seed: dict[int | None, Run] = {}
    pairs = [(runs[0], run, PROTOCOL) for run in runs[1:]]
    pairs += [(of_seed.setdefault(run.seed, run), run, ("dataset.negatives.seed",)) for run in runs]
    for first, run, keys in pairs:
        for key, one, other in differences(first.results["identity"], run.results["identity"], keys):
            raise InputError(
                f"{first.folder} and {run.folder} differ in {key} ({one} and {other}): "
                f"runs on {dataset} cannot be compared; report on them separately"
            )


def choose_compared(
    variants: Sequence[Variant],
    model: str | None,
    labels: Sequence[str | None],
    monitor: Metric,
    folders: Sequence[Path],
) -> Variant:
    """Return the variant to compare the others with. Validation decides between candidates, never the test."""
    owners = {run.folder.resolve(): variant for variant in variants for run in variant.runs}
    candidates = (
        [variant for variant in variants if variant.name == model],
        [variant for variant in variants if variant.model == model],
        [owners[path] for folder in folders if (path := folder.resolve()) in owners][:1],
        [variant for variant in variants if variant.label is not None and variant.label in labels[:1]],
        [variant for variant in variants if variant.model == DEFAULT_MODEL and variant.label is None],
        [variant for variant in variants if variant.model == DEFAULT_MODEL],
        variants,
    )
    return max(next(filter(None, candidates)), key=lambda variant: validation(variant, monitor))


def best_by(block: Block, key: Callable[[Variant], Key]) -> dict[Key, Variant]:
    """Return the best variant by validation for each value of a key."""
    ascending = sorted(block.variants, key=lambda variant: validation(variant, block.monitor))
    return {key(variant): variant for variant in ascending}


def validation(variant: Variant, monitor: Metric) -> float:
    """Return a variant's mean of the monitored metric; minus infinity if it has none."""
    score = variant.mean(monitor)
    return float("-inf") if score is None else score
