"""The time at which Hydra has composed. It imports nothing that a run imports only later, which would be timed here."""

import time
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Composed(Callback):
    """A callback that prints when the config was composed."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the time."""
        print(f"at {time.time()}", flush=True)
