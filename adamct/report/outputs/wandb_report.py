"""A report's tables and figures as a run of Weights & Biases."""

from typing import Literal

import wandb

from adamct.errors import InputError, on_one_line
from adamct.report.outputs.drawing import Drawing
from adamct.report.outputs.report import Report
from adamct.report.outputs.table import Table


def log_to_wandb(
    report: Report,
    project: str,
    entity: str | None = None,
    mode: Literal["online", "offline", "disabled"] | None = None,
    group: str | None = None,
) -> None:
    """Log a report's tables and figures to a new run. If logging fails, the run is marked as failed.

    Args:
        report: the written report.
        project: W&B's project.
        entity: W&B's user or team; None is the account's default.
        mode: W&B's mode; None takes it from the environment, or else is online.
        group: W&B's group of the run; None is no group.

    Raises:
        InputError: W&B refuses the run, for example because the API key is missing.
    """
    try:
        run = wandb.init(
            project=project,
            entity=entity,
            mode=mode,
            group=group,
            job_type="report",
            name=report.title,
            dir=report.out,
            notes=report.status,
            reinit="create_new",
        )
        with run:  # finishes it
            tables = {f"tables/{table.name}": wandb_table(table) for table in report.tables}
            figures = {f"figures/{drawing.name}": wandb_image(report, drawing) for drawing in report.drawings}
            run.log(tables | figures)
    except wandb.Error as error:
        raise InputError(
            f"W&B project {project}: {on_one_line(error)}; the report itself is in {report.out}"
        ) from error


def wandb_table(table: Table) -> wandb.Table:
    """Convert a table to W&B's, with the cells as text."""
    columns: list[str | int] = [table.corner or " ", *table.columns]
    return wandb.Table(columns=columns, data=[[label, *map(str, cells)] for label, cells in table.rows])


def wandb_image(report: Report, drawing: Drawing) -> wandb.Image:
    """Convert a figure to W&B's, from its written PNG file."""
    return wandb.Image(str(report.out / f"{drawing.name}.png"), caption=drawing.caption)
