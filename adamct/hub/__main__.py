"""``python -m adamct.hub export RUN FOLDER`` and ``python -m adamct.hub push FOLDER OWNER/NAME``.

Both need the extra [hub].
"""

import argparse
from pathlib import Path

from adamct.errors import exiting_on_mistake, require
from adamct.hub.card import BEST, model_card, rankings_of
from adamct.hub.folder import write_folder
from adamct.hub.remote import push
from adamct.identity import WEIGHTS
from adamct.runs.folder import CHECKPOINTS, RESULTS, read_json


def export(run: Path, folder: Path, file: str) -> None:
    """Write the weights of a run's checkpoint as a folder for the Hub.

    Args:
        run: the folder of a run that has finished.
        folder: the folder to write.
        file: the checkpoint's name.

    Raises:
        InputError: the run has no results or no such checkpoint, or the folder cannot be written.
    """
    from adamct.checkpoint import read_checkpoint  # torch takes seconds

    results = read_json(run / RESULTS)
    require(isinstance(results, dict), f"{run}: holds no {RESULTS}; give the folder of a finished run")
    rankings = rankings_of(results, file)
    checkpoint = read_checkpoint(run / CHECKPOINTS / file, results["identity"], WEIGHTS, "RUN")
    name = f"{results['identity']['model']['_target_'].rpartition('.')[2]} on {results['choices']['dataset']}"
    write_folder(folder, checkpoint, model_card(results, name, rankings))


def main() -> None:
    """Run the command line. Exit with one line on a user's mistake."""
    parser = argparse.ArgumentParser(
        "python -m adamct.hub", description="Export trained models to the Hugging Face Hub."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    exporting = commands.add_parser("export", help="write weights, config and model card into a folder")
    exporting.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run")
    exporting.add_argument("folder", metavar="FOLDER", type=Path, help="the folder to write")
    exporting.add_argument(
        "--weights", metavar="FILE", default=BEST, help=f"one of the run's checkpoints; default: {BEST}"
    )
    pushing = commands.add_parser("push", help="send an exported folder to the Hub")
    pushing.add_argument("folder", metavar="FOLDER", type=Path, help="the exported folder")
    pushing.add_argument("name", metavar="OWNER/NAME", help="the model's name on the Hub")
    pushing.add_argument("--private", action="store_true", help="make a new model visible to its owner only")
    arguments = parser.parse_args()
    with exiting_on_mistake():
        if arguments.command == "export":
            export(arguments.run, arguments.folder, arguments.weights)
            print(f"exported: {arguments.folder}")
        else:
            print(f"pushed: {push(arguments.folder, arguments.name, arguments.private)}")


if __name__ == "__main__":
    main()
