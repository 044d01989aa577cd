"""`hydra/sweeper=cases`: a study, whose jobs are listed cases and not a product of values."""

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from adamct.errors import require
from adamct.keys import flat
from adamct.sweeps.callback import listed_cases
from adamct.values import PositiveInt


class CasesSweeper(BasicSweeper):
    """Runs every case with every combination of the other swept values.

    A case whose config an earlier one has, but for its label, is that one and is not run again, and one that a
    constraint is against is left out.

    Args:
        cases: lists of overrides, each a case, or several where values are swept in it.
        constraints: configs of `adamct.search.constraints.Constraint`.
        params: swept values beside the cases, which the command line adds to and changes.
        max_batch_size: jobs launched together; None is all.
        jobs: the overrides of each job; set when the sweep starts, for reports.
    """

    def __init__(
        self,
        cases: Sequence[Sequence[str]],
        constraints: Sequence[DictConfig],
        params: dict[str, Any] | None,
        max_batch_size: PositiveInt | None,
        jobs: None,
    ):
        super().__init__(max_batch_size, params)
        del cases, jobs  # `split_arguments` takes the ones and sets the others in the config
        self.constraints = [instantiate(constraint) for constraint in constraints]

    def split_arguments(  # pyright: ignore[reportIncompatibleMethodOverride]  # of a class method, asked of an instance
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The jobs, in batches: all cases with the first combination of the other values, then with the next."""
        assert self.config is not None
        assert self.hydra_context is not None
        listed = listed_cases(self.config.hydra.sweeper)
        require(bool(listed), "hydra/sweeper=cases needs cases: hydra.sweeper.cases=[['KEY=VALUE', ...], ...]")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        cases = [parser.parse_overrides(case) for case in listed]
        distinct: dict[str, list[str]] = {}
        for product in combinations(overrides):
            given = parser.parse_overrides(product)
            for job in chain.from_iterable(combinations([*given, *case]) for case in cases):
                config = self.composed(job)
                if all(holds(flat(config)) for holds in self.constraints):
                    distinct.setdefault(json.dumps({**config, "label": None}, sort_keys=True), job)
        jobs = list(distinct.values())
        require(bool(jobs), "hydra.sweeper.constraints: are against every case")
        self.config.hydra.sweeper.jobs = jobs
        return list(self.split_overrides_to_chunks(jobs, max_batch_size))

    def composed(self, job: list[str]) -> dict[str, Any]:
        """A job's config."""
        assert self.config is not None
        assert self.hydra_context is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, job)
        keys = cast(dict[str, Any], OmegaConf.to_container(config))
        return {key: value for key, value in keys.items() if key != "hydra"}

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Composing has shown it."""


def combinations(overrides: list[Override]) -> list[list[str]]:
    """Every combination of swept values; of a key that is there twice the last counts."""
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    return jobs
