"""``python -m adamct.dashboard ENTITY/PROJECT``: save a workspace of Weights & Biases with panels for all runs."""

import argparse
import sys
from typing import NoReturn

from adamct.errors import explain, on_one_line, require
from adamct.extras import require_extra


def main() -> None:
    """Parse the command line, and save or print the workspace. Print a user's mistake in one line."""
    parser = argparse.ArgumentParser("python -m adamct.dashboard", description="Save a workspace of W&B for all runs.")
    parser.add_argument("project", metavar="ENTITY/PROJECT", help="W&B's project, such as my-team/adamct")
    parser.add_argument("--print", action="store_true", help="print the workspace as JSON, and send nothing")
    parser.add_argument("--layers", type=int, default=2, help="the layers whose coefficients are shown; default: 2")
    parser.add_argument(
        "--negatives", type=int, default=100, help="dataset.negatives.count, which names a ranking; default: 100"
    )
    parser.add_argument(
        "--keys",
        nargs="+",
        default=["optimizer.lr", "model.hidden_size", "model.dropout"],
        metavar="KEY",
        help="the config keys that searches vary; default: %(default)s",
    )
    arguments = parser.parse_args()
    try:
        entity, _, project = arguments.project.partition("/")
        require(bool(entity and project), f"{arguments.project}: must be ENTITY/PROJECT, such as my-team/adamct")
        require_extra("wandb", "the dashboard")
        from adamct.dashboard.workspace import Content, as_json, workspace

        content = Content.of(arguments.negatives, arguments.layers, arguments.keys)
        dashboard = workspace(entity, project, content)
        if arguments.print:
            print(as_json(dashboard))
        else:
            dashboard.save()
    except Exception as error:
        exit_with(error, arguments.project)


def exit_with(error: Exception, project: str) -> NoReturn:
    """End the process with one line for a user's mistake or a refusal of W&B."""
    line = explain(error)
    if line is None and type(error).__module__.partition(".")[0] in ("wandb", "requests"):
        line = f"W&B project {project}: {on_one_line(error)}; --print needs no account"
    if line is None:
        raise error
    sys.exit(f"error: {line}")


if __name__ == "__main__":
    main()
