"""Weights & Biases, so that a resumed run goes on as the same run."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only


class WandbRun(WandbLogger):
    """One run, whose id is kept in the run's folder; its summary shows the best values, not the last.

    Args:
        save_dir: the run's folder.
        mode: online, offline (files only) or disabled.
        project: W&B's project.
        entity: W&B's user or team; None is the account's default.
        name: the run's name; None is its folder's, which in a sweep tells what varies.
        group: what to group runs by; None is the name of the folder above, in a sweep the sweep's.
        job_type: what to tell runs of a group apart by.
        tags: what to find the run by.
    """

    def __init__(
        self,
        save_dir: str,
        mode: Literal["online", "offline", "disabled"],
        project: str,
        entity: str | None,
        name: str | None,
        group: str | None,
        job_type: str | None,
        tags: Sequence[str],
    ):
        folder = Path(save_dir)
        super().__init__(
            name=name or folder.name,
            save_dir=save_dir,
            id=run_id(folder),
            project=project,
            entity=entity,
            group=group or folder.parent.name,
            job_type=job_type,
            tags=list(tags),
            mode=mode,
            resume="allow",
        )
        self._define_summaries()

    @rank_zero_only
    def _define_summaries(self) -> None:
        for metrics in ("val/*", "test/*"):
            self.experiment.define_metric(metrics, summary="max")


@rank_zero_only
def run_id(folder: Path) -> str:
    """The id the folder holds, or a new one that it holds from now on."""
    file = folder / "wandb_run_id"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(secrets.token_hex(4))
    return file.read_text()
