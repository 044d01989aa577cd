"""`hydra/sweeper=basic`, the default, and `cases`: sweeps whose jobs are known before they start.

Several commands can share such a sweep.

They are in one module, because Hydra executes the modules of plugins again: a base class of another module would be
one of before.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, cast

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from adamct.errors import require
from adamct.keys import flat
from adamct.runs.claim import Claim
from adamct.runs.job import ELSEWHERE, stop_file
from adamct.sweeps.commands import POLL_SECONDS, turn
from adamct.sweeps.folders import read_cases
from adamct.values import PositiveInt

log = logging.getLogger(__name__)

TARGET = {"_target_": f"{__name__}.GridSweeper", "max_batch_size": None, "params": None}
ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=TARGET, provider="adamct")  # in place of Hydra's


class GridSweeper(BasicSweeper):
    """A sweeper that runs every combination of the swept values.

    It leaves out the jobs that other commands are running, and waits for them at the end. If a command is killed, this
    one continues its job.
    """

    def sweep(self, arguments: list[str]) -> None:
        """Run all jobs that no other command runs, and wait until the others have ended."""
        assert self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        batches = self.split_arguments(overrides, self.max_batch_size)
        folder = Path(self.config.hydra.sweep.dir)
        with turn(folder):
            OmegaConf.save(self.config, folder / "multirun.yaml")
        jobs: list[list[str]] = []
        elsewhere: dict[int, Path] = {}
        for batch in batches:
            self.validate_batch_is_legal(batch)
            elsewhere |= self.launch(dict(enumerate(batch, len(jobs))))
            jobs += batch
        if elsewhere:
            log.info("waiting for %d jobs that other commands are running", len(elsewhere))
        while elsewhere and not stop_file(self.config.hydra).exists():
            time.sleep(POLL_SECONDS)
            ended = [number for number, folder in elsewhere.items() if not Claim(folder).is_held()]
            elsewhere = {number: folder for number, folder in elsewhere.items() if number not in ended}
            if ended:  # finished or failed, which takes no time, or killed
                elsewhere |= self.launch({number: jobs[number] for number in ended})

    def launch(self, jobs: Mapping[int, Sequence[str]]) -> dict[int, Path]:
        """Launch jobs, given by their numbers, and return the folders of those that other commands are running."""
        assert self.launcher is not None
        returns = self.launcher.launch(list(jobs.values()), initial_job_idx=min(jobs))
        pairs = zip(jobs, returns, strict=True)
        return {
            number: Path(returned.hydra_cfg.hydra.runtime.output_dir)
            for number, returned in pairs
            if returned.return_value == ELSEWHERE and returned.hydra_cfg is not None
        }


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
