"""`hydra/sweeper=cases`: a study, whose jobs are listed cases instead of a product of values."""

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
from adamct.sweeps.folders import read_cases
from adamct.values import PositiveInt
from hydra_plugins.adamct_grid import GridSweeper


class CasesSweeper(GridSweeper):
    """A sweeper that runs every case with every combination of the other swept values.

    A case is left out if a constraint forbids it, or if an earlier case has the same config apart from the label.

    Args:
        cases: lists of overrides. Each list is one case, or several cases if it sweeps values.
        constraints: configs of `adamct.search.constraints.Constraint`.
        params: the other swept values. The command line can add to them and change them.
        max_batch_size: the number of jobs that are launched together; None launches all.
        jobs: the overrides of each job. They are set when the sweep starts, for reports.
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
        del cases, jobs  # `split_arguments` reads and sets them in the config
        self.constraints = [instantiate(constraint) for constraint in constraints]

    def split_arguments(  # pyright: ignore[reportIncompatibleMethodOverride]  # a method instead of a class method
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Return the overrides of the jobs, in batches.

        All cases with the first combination of the other values come first, then all cases with the next.

        Raises:
            InputError: no cases are given, or the constraints forbid all of them.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        listed = read_cases(self.config.hydra.sweeper)
        require(bool(listed), "hydra.sweeper.cases=[]: must have a case; give [['KEY=VALUE', ...], ...]")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        cases = [parser.parse_overrides(case) for case in listed]
        distinct: dict[str, list[str]] = {}
        for combination in combinations(overrides):
            shared = parser.parse_overrides(combination)
            for job in chain.from_iterable(combinations([*shared, *case]) for case in cases):
                config = self.compose_job(job)
                if all(constraint(flat(config)) for constraint in self.constraints):
                    distinct.setdefault(json.dumps({**config, "label": None}, sort_keys=True), job)
        jobs = list(distinct.values())
        require(bool(jobs), "hydra.sweeper.constraints: must allow a case, but they forbid all cases")
        self.config.hydra.sweeper.jobs = jobs
        return list(self.split_overrides_to_chunks(jobs, max_batch_size))

    def compose_job(self, overrides: list[str]) -> dict[str, Any]:
        """Compose a job's config, without Hydra's own keys."""
        assert self.config is not None
        assert self.hydra_context is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        keys = cast(dict[str, Any], OmegaConf.to_container(config))
        return {key: value for key, value in keys.items() if key != "hydra"}

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: every job has already been composed."""


def combinations(overrides: list[Override]) -> list[list[str]]:
    """Return every combination of swept values, as overrides. The last override of a key counts."""
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    return jobs
