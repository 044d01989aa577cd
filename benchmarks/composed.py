"""When Hydra has composed; a module of its own, because nothing a run would import later may be imported for it."""

import time
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Composed(Callback):
    """Tells when the config was composed."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the time."""
        print(f"at {time.time()}", flush=True)
