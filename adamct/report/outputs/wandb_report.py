"""A report's tables and figures as one run of Weights & Biases."""

from typing import Literal

import wandb

from adamct.errors import InputError, on_one_line
from adamct.report.outputs.report import Report
from adamct.report.outputs.table import Table


def log_to_wandb(
    report: Report,
    project: str,
    entity: str | None = None,
    mode: Literal["online", "offline", "disabled"] | None = None,
    group: str | None = None,
) -> None:
    """Log a report's tables and figures to a run of its own, and finish it, as failed where that fails.

    Args:
        report: what `adamct.report.build.report` returned.
        project: W&B's project.
        entity: W&B's user or team; None is the account's default.
        mode: None is what the environment says, or else online.
        group: what to group the run by.

    Raises:
        InputError: W&B refuses it, such as without a key.
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
            run.log(
                {f"tables/{table.name}": as_wandb(table) for table in report.tables}
                | {
                    f"figures/{drawing.name}": wandb.Image(
                        str(report.out / f"{drawing.name}.png"), caption=drawing.caption
                    )
                    for drawing in report.drawings
                }
            )
    except wandb.Error as error:
        raise InputError(
            f"W&B project {project}: {on_one_line(error)}; the report itself is in {report.out}"
        ) from error


def as_wandb(table: Table) -> wandb.Table:
    """Make a table whose cells are the texts of another."""
    columns: list[str | int] = [table.corner or " ", *table.columns]
    return wandb.Table(columns=columns, data=[[label, *map(str, cells)] for label, cells in table.rows])
