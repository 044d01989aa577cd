"""The sections and panels of the workspace."""

from collections.abc import Sequence
from typing import NamedTuple

from wandb_workspaces.reports.v2 import (
    BarPlot,
    Config,
    LinePlot,
    ParallelCoordinatesPlot,
    ParameterImportancePlot,
    ScatterPlot,
    SummaryMetric,
    WeavePanelSummaryTable,
)
from wandb_workspaces.reports.v2.interface import ParallelCoordinatesPlotColumn
from wandb_workspaces.workspaces import RunsetSettings, Section, Workspace

from adamct.evaluation.names import Metric, names_of_rankings

SHOWN = ("ndcg@10", "recall@10")
"""The metrics of each ranking that panels show, the most important first."""
COSTS = ("parameters", "flops_per_query", "train_seconds_per_epoch", "validation_seconds", "peak_gpu_memory_mib")
"""The costs of a run that panels show."""
MODEL = "JobType"
"""W&B's name for the attribute by which panels group runs: a run's job type is its choice of the model."""


class Content(NamedTuple):
    """The parts of a project that the panels show."""

    rankings: Sequence[str]
    layers: int
    """The number of layers with mixture coefficients."""
    searched: Sequence[str]
    """The config keys that searches vary."""

    @classmethod
    def of(cls, negatives: int, layers: int, searched: Sequence[str]) -> "Content":
        """Return the content of runs with a number of sampled items, which names a ranking."""
        return cls(names_of_rankings(negatives), layers, searched)

    def metrics(self, split: str, names: Sequence[str] = SHOWN) -> list[str]:
        """Return the keys of some metrics of a split in all rankings."""
        return [str(Metric(split, ranking, name)) for name in names for ranking in self.rankings]


def workspace(entity: str, project: str, content: Content) -> Workspace:
    """Return a workspace of W&B. Panels of runs over training group them by model, with a band over the seeds.

    The table of runs shows the seed and the test metrics in its first columns.
    """
    tested = [f"summary:{key}" for key in content.metrics("test")]
    return Workspace(
        entity=entity,
        project=project,
        name="AdaMCT",
        sections=[*quality(content), mixture(content), search(content), costs(content)],
        runset_settings=RunsetSettings(pinned_columns=["run:displayName", "run:jobType", "config:seed.value", *tested]),
    )


def quality(content: Content) -> list[Section]:
    """Return the sections of the validation curves and of the test."""
    curves = [by_model(key) for key in content.metrics("val")]
    bars = [bars_by_model(key) for key in content.metrics("test")]
    return [
        Section(name="Validation", panels=[*curves, by_model("train/loss_epoch")], is_open=True),
        Section(name="Test", panels=[*bars], is_open=True),
    ]


def mixture(content: Content) -> Section:
    """Return the section of the mixture coefficients: over training, and the last histogram over users."""
    names = [f"mixture/layer{layer}" for layer in range(1, content.layers + 1)]
    curves = [by_model(f"{name}/{value}") for name in names for value in ("mean", "std")]
    histograms = [WeavePanelSummaryTable(table_name=f"{name}/histogram") for name in names]
    return Section(name="Mixture coefficients", panels=[*curves, *histograms])


def search(content: Content) -> Section:
    """Return the section of searches: parallel coordinates and the importance of keys for each ranking."""
    scores = content.metrics("val", SHOWN[:1])
    keys = [ParallelCoordinatesPlotColumn(metric=Config(key)) for key in content.searched]
    return Section(
        name="Search",
        panels=[
            *(
                ParallelCoordinatesPlot(
                    title=score, columns=[*keys, ParallelCoordinatesPlotColumn(metric=SummaryMetric(score))]
                )
                for score in scores
            ),
            *(ParameterImportancePlot(with_respect_to=score) for score in scores),
        ],
    )


def costs(content: Content) -> Section:
    """Return the section of costs, with each cost by model and the test against the parameters."""
    against = [
        ScatterPlot(title=key, x=SummaryMetric("cost/parameters"), y=SummaryMetric(key), log_x=True)
        for key in content.metrics("test", SHOWN[:1])
    ]
    bars = [bars_by_model(f"cost/{name}") for name in COSTS]
    return Section(name="Cost", panels=[*bars, by_model("train/samples_per_second"), *against])


def by_model(key: str) -> LinePlot:
    """Return the curve of a metric over epochs: each model's mean, with the standard deviation over its runs."""
    return LinePlot(
        title=key,
        x="epoch",
        y=[key],
        groupby=MODEL,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        smoothing_type="none",
    )


def bars_by_model(key: str) -> BarPlot:
    """Return a bar of each model's mean, with the standard deviation over its runs."""
    return BarPlot(title=key, metrics=[key], groupby=MODEL, groupby_aggfunc="mean", groupby_rangefunc="stddev")


def as_json(dashboard: Workspace) -> str:
    """Return the specification that the server would receive. The package has no public way to it."""
    return dashboard._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=2)
