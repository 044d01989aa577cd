"""An experiment of Comet for each run's folder. Needs the extra [comet]."""

import os
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jaxtyping import Float
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from adamct.errors import InputError, on_one_line
from adamct.keys import flat
from adamct.loggers.base import End, stored
from adamct.values import as_yaml


class CometRun(Logger):
    """A Comet experiment whose key is stored in the run's folder. A resumed run continues it.

    Lightning's own logger writes nothing if it is offline.

    Args:
        save_dir: the run's folder.
        online: whether to send to the server. Otherwise a file in the folder can be uploaded later.
        workspace: Comet's workspace; None for the account's default.
        project: Comet's project.
        name: the experiment's name; None for the name of its folder, which in a sweep has the values that vary.
        group: the experiment's value of ``group``; None for the name of the parent folder, which in a sweep is the
            sweep's.
        tags: the experiment's tags.

    Raises:
        InputError: Comet refuses the experiment, for example because there is no account.
    """

    def __init__(
        self,
        save_dir: str,
        online: bool,
        workspace: str | None,
        project: str,
        name: str | None,
        group: str | None,
        tags: Sequence[str],
    ):
        super().__init__()
        self.project = project
        folder = Path(save_dir)
        options = {"workspace": workspace, "project": project, "online": online}
        self.key = self._start(folder, options, name or folder.name, list(tags))
        self._log_other("group", group or folder.parent.name)

    @rank_zero_only
    def _start(self, folder: Path, options: dict[str, Any], name: str, tags: list[str]) -> str | None:
        os.environ["COMET_DISABLE_AUTO_LOGGING"] = "1"  # the import would change torch to log by itself
        import comet_ml

        file = folder / "comet_experiment_key"
        mode = "get" if file.exists() else "create"
        key = stored(file, partial(secrets.token_hex, 20))
        config = comet_ml.ExperimentConfig(
            offline_directory=str(folder / "comet"), name=name, tags=tags, display_summary_level=0, parse_args=False
        )
        try:
            self.experiment = comet_ml.start(experiment_key=key, mode=mode, experiment_config=config, **options)
        except Exception as error:  # Comet raises many types
            if mode == "create":
                file.unlink()
            raise InputError(
                f"logger.comet: {on_one_line(error)}; comet login, or logger.comet.online=false, which needs no account"
            ) from error
        return key

    @property
    def name(self) -> str:
        """The project."""
        return self.project

    @property
    def version(self) -> str | None:
        """The experiment's key; None if another process logs."""
        return self.key

    @rank_zero_only
    def _log_other(self, name: str, value: str) -> None:
        self.experiment.log_other(name, value)

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Log the config by its dotted keys."""
        self.experiment.log_parameters({key: as_yaml(value) for key, value in flat(params).items()})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values. Comet shows those of a whole epoch by the epoch too."""
        scores = {name: value for name, value in metrics.items() if name != "epoch"}
        epoch = int(metrics["epoch"]) if "epoch" in metrics else None
        self.experiment.log_metrics(scores, step=step, epoch=epoch)

    @rank_zero_only
    def log_histogram(self, name: str, values: Float[Tensor, " U"], step: int) -> None:
        """Log a histogram."""
        self.experiment.log_histogram_3d(values.tolist(), name, step)

    @rank_zero_only
    def finish(self, end: End) -> None:
        """End the experiment, so that the next job of a sweep has its own. Comet has no state for a failure."""
        self.experiment.log_other("ended", end.value)
        self.experiment.end()
