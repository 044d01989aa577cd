"""The Hydra callback of a single run: the check of its folder, into which Hydra writes a log before the run begins."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from adamct.errors import exiting_on_mistake
from adamct.runs.folder import ERROR, IDENTITY, RESULTS, require_own


class FolderCallback(Callback):
    """The check before a single run."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a folder that the run must not write to."""
        with exiting_on_mistake():
            require_own_run(config)


def require_own_run(config: DictConfig) -> None:
    """Refuse an empty ``hydra.run.dir``, and a folder with files of somebody else that a run would replace.

    Args:
        config: the config of the run, with Hydra's own keys.

    Raises:
        InputError: names the folder.
    """
    current = HydraConfig.instance()
    before = current.cfg
    current.set_config(config)  # which the interpolations of the default folder read
    folder = str(config.hydra.run.dir)
    current.cfg = before
    require_own("hydra.run.dir", folder, ("config.yaml", ERROR), ("run.log", ".lock", IDENTITY, RESULTS))
