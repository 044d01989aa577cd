"""A run of MLflow for each run's folder. Needs the extra [mlflow]."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import requests
from jaxtyping import Float
from pytorch_lightning.loggers import MLFlowLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from adamct.errors import InputError, on_one_line
from adamct.keys import flat
from adamct.loggers.base import End, stored
from adamct.loggers.histogram import svg
from adamct.values import as_yaml

DEFAULT_STORE = "sqlite:///mlflow.db"
"""The store without another: a file in the working directory, where `mlflow ui` finds it."""
STATUSES = {End.SUCCESS: "FINISHED", End.FAILURE: "FAILED", End.STOP: "KILLED"}
BATCH = 100
"""The number of parameters or tags that MLflow takes at once."""
SECONDS = 10
"""The longest wait for a server. MLflow alone would try for minutes."""


class MlflowRun(MLFlowLogger):
    """An MLflow run whose id is stored in the run's folder. A resumed run continues it.

    Parameters have the config's dotted keys. Metrics have ``_at_`` in place of ``@``, which MLflow does not allow.

    Args:
        save_dir: the run's folder.
        tracking_uri: MLflow's store; None for the environment's MLFLOW_TRACKING_URI, or else `DEFAULT_STORE`.
        experiment: MLflow's experiment.
        name: the run's name; None for the name of its folder, which in a sweep has the values that vary.
        group: the run's tag ``group``; None for the name of the parent folder, which in a sweep is the sweep's.
        tags: more tags of the run, by name.

    Raises:
        InputError: the store cannot be reached or refuses the run.
    """

    def __init__(
        self,
        save_dir: str,
        tracking_uri: str | None,
        experiment: str,
        name: str | None,
        group: str | None,
        tags: Mapping[str, str],
    ):
        folder = Path(save_dir)
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE
        silence_creation()
        with naming_store(uri):
            if uri.startswith(("http://", "https://")):
                requests.get(uri, timeout=SECONDS)
            super().__init__(
                experiment,
                run_name=name or folder.name,
                tracking_uri=uri,
                tags={**tags, "group": group or folder.parent.name},
            )
            self._start(folder)

    @rank_zero_only
    def _start(self, folder: Path) -> None:
        file = folder / "mlflow_run_id"
        if file.exists() and self._has_run(file.read_text(encoding="utf-8")):
            self._run_id = file.read_text(encoding="utf-8")
            self.experiment.update_run(self._run_id, status="RUNNING")
            return
        file.unlink(missing_ok=True)
        self._create_experiment()
        stored(file, lambda: cast(str, self.run_id))

    def _has_run(self, run: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self._mlflow_client.get_run(run)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True

    def _create_experiment(self) -> None:
        """Create the experiment, which another job of a sweep may do at the same time."""
        from mlflow.exceptions import MlflowException

        if self._mlflow_client.get_experiment_by_name(self._experiment_name) is None:
            try:
                self._mlflow_client.create_experiment(self._experiment_name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Log the config. Values that a resumed run has changed become tags, because parameters cannot change."""
        from mlflow.entities import Param, RunTag

        values = {key: as_yaml(value) for key, value in flat(params).items()}
        run = cast(str, self.run_id)
        logged = self.experiment.get_run(run).data.params
        new = [Param(key, value) for key, value in values.items() if key not in logged]
        changed = [RunTag(key, values[key]) for key in logged.keys() & values.keys() if logged[key] != values[key]]
        for place in range(0, len(new), BATCH):
            self.experiment.log_batch(run, params=new[place : place + BATCH])
        for place in range(0, len(changed), BATCH):
            self.experiment.log_batch(run, tags=changed[place : place + BATCH])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values."""
        super().log_metrics({name.replace("@", "_at_"): value for name, value in metrics.items()}, step)

    @rank_zero_only
    def log_histogram(self, name: str, values: Float[Tensor, " U"], step: int) -> None:
        """Add a picture of a histogram to the run's artifacts."""
        self.experiment.log_text(cast(str, self.run_id), svg(values), f"{name}/step{step:08}.svg")

    def finalize(self, status: str = "success") -> None:
        """Do nothing at the end of a stage: the run may have others."""

    @rank_zero_only
    def finish(self, end: End) -> None:
        """Record the run's status."""
        self.experiment.set_terminated(cast(str, self.run_id), STATUSES[end])


def silence_creation() -> None:
    """Silence the messages with which MLflow creates the tables of a new store."""
    import_module("mlflow")  # may reset the levels of its loggers
    logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)


@contextmanager
def naming_store(uri: str) -> Iterator[None]:
    """Re-raise an error of MLflow's store as an `InputError` that names the store."""
    try:
        yield
    except Exception as error:  # servers and databases raise many types
        raise InputError(
            f"logger.mlflow.tracking_uri={uri}: {on_one_line(error)}; start the server, or give another store, "
            f"such as {DEFAULT_STORE}"
        ) from error
