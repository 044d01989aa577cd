"""`sleeping.py` with the trials of a search in batches, as launchers of clusters get them."""

from hydra.core.plugins import Plugins

from adamct.runs.job import run_command
from benchmarks.sleeping import CONF, main

if __name__ == "__main__":
    Plugins.instance()  # loads the plugins again
    from hydra_plugins.adamct_sweeps import OptunaSweeper

    OptunaSweeper.launch_each = OptunaSweeper.launch_batches
    run_command(main, CONF)
