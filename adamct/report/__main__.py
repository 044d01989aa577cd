"""``python -m adamct.report DIR...``: tables, figures, tests and a page for all runs below some folders."""

import argparse
from pathlib import Path

from adamct.errors import exiting_on_mistake
from adamct.runs.console import accept_all_characters


def main() -> None:
    """Parse the command line and write the report. Print a user's mistake in one line."""
    parser = argparse.ArgumentParser("python -m adamct.report", description="Compare all runs below some folders.")
    parser.add_argument("folders", metavar="DIR", nargs="+", type=Path, help="a folder of a sweep or of runs")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="the folder to write to; default: DIR/report, or report for several DIR",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="the model or variant to compare with the others; default: the first DIR that is itself a run, else "
        "adamct, else the best by validation",
    )
    parser.add_argument(
        "--metric", metavar="NAME", help="the metric to test, such as test/full/ndcg@10; default: the monitored one"
    )
    parser.add_argument(
        "--wandb", metavar="PROJECT", help="also log the tables and figures to a new run of this W&B project"
    )
    arguments = parser.parse_args()
    accept_all_characters()
    # matplotlib and scipy take a second to import, and --help does not need them.
    from adamct.report.build import report

    out = arguments.out or (arguments.folders[0] / "report" if len(arguments.folders) == 1 else Path("report"))
    with exiting_on_mistake():
        written = report(arguments.folders, out, arguments.model, arguments.metric)
        if arguments.wandb:
            from adamct.report.outputs.wandb_report import log_to_wandb

            log_to_wandb(written, arguments.wandb)


if __name__ == "__main__":
    main()
