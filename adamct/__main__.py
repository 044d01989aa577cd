"""The command ``adamct``, which works in any folder: runs, reports, recommendations and exports."""

import runpy
import sys
from importlib import import_module

from adamct.keys import nearest
from adamct.runs.script import SCRIPT

RUNS = {"run": [], "predict": ["stages=[predict]"]}
"""The commands of `run.py`, with the overrides that each adds."""
MODULES = {
    "report": "adamct.report.__main__",
    "evaluate": "adamct.evaluate.__main__",
    "export": "adamct.serving.export",
    "hub": "adamct.hub.__main__",
}
"""The commands of modules."""
USAGE = """usage: adamct COMMAND ...

  run       train and test a model, or run a sweep with -m: adamct run dataset=custom dataset.path=log.csv
  predict   write recommendations: adamct predict dataset=custom dataset.path=log.csv ckpt=FOLDER/checkpoints/best.ckpt
  report    compare the runs below folders: adamct report multirun/FOLDER
  evaluate  rank the test items by recommendations of another program: adamct evaluate lists.csv dataset=beauty
  export    write a trained encoder as ONNX: adamct export FOLDER/checkpoints/best.ckpt
  hub       export a run for the Hugging Face Hub, and push it: adamct hub export FOLDER EXPORT

adamct COMMAND --help shows the arguments of a command."""


def main() -> None:
    """Run a command with the arguments that follow its name."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE)
    elif name in RUNS:
        # As a script, because sweeps and Lightning start further processes with the script's path.
        sys.argv = [str(SCRIPT), *RUNS[name], *arguments]
        runpy.run_path(str(SCRIPT), run_name="__main__")
    elif name in MODULES:
        sys.argv = [f"adamct {name}", *arguments]
        import_module(MODULES[name]).main()
    else:
        commands = [*RUNS, *MODULES]
        sys.exit(f"error: {name}: must be one of {', '.join(commands)}{nearest(name, commands)}")


if __name__ == "__main__":
    main()
