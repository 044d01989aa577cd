"""`hydra/sweeper=basic`, the default: every combination of the swept values, which several commands can share."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from adamct.runs.claim import Claim
from adamct.runs.job import ELSEWHERE, stop_file
from adamct.sweeps.commands import POLL_SECONDS, turn

log = logging.getLogger(__name__)

TARGET = {"_target_": f"{__name__}.GridSweeper", "max_batch_size": None, "params": None}
ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=TARGET, provider="adamct")  # in place of Hydra's


class GridSweeper(BasicSweeper):
    """Hydra's sweeper, which leaves out the jobs that other commands are running.

    At the end it waits for these jobs. If a command is killed, this one continues its job.
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
