"""What a command cannot do is refused before anything is imported or built."""

import re
from typing import Any

import pytest
from hydra.errors import MissingConfigException

from adamct.errors import InputError, explain
from adamct.runs.feasibility import require_feasible, require_no_sweep

FEASIBLE = {
    "stages": ["fit", "test"],
    "ckpt": None,
    "resume": "auto",
    "monitor": "val/uni20/ndcg@5",
    "cutoffs": [5],
    "dataset": {"negatives": {"count": 20}},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": ["test"]}, "stages=[test] needs the weights to use: ckpt=PATH"),
        ({"ckpt": "."}, "ckpt=.: must be null with fit in stages; give resume=PATH"),
        ({"stages": ["test"], "ckpt": "nowhere.ckpt"}, "ckpt=nowhere.ckpt: no such checkpoint"),
        ({"resume": "nowhere.ckpt"}, "resume=nowhere.ckpt: no such checkpoint"),
        ({"monitor": "val/full/ndcg@6"}, "monitor=val/full/ndcg@6: must be one of val/uni20/mrr, val/uni20/recall@5, "),
    ],
    ids=str,
)
def test_infeasible_configs_are_errors(changes: dict[str, Any], message: str) -> None:
    require_feasible(FEASIBLE)
    with pytest.raises(InputError, match=re.escape(message)):
        require_feasible(FEASIBLE | changes)


def test_a_dataset_without_sampled_items_names_its_own_metrics() -> None:
    require_feasible(FEASIBLE | {"dataset": {}, "monitor": "val/own/ndcg@5"})


@pytest.mark.parametrize(
    ("choices", "preview", "message"),
    [
        ({}, True, "preview=true lists the jobs of a sweep: add -m"),
        ({"hydra/sweeper": "optuna"}, False, "hydra/sweeper=optuna is for the jobs of a sweep: add -m"),
        ({"hydra/launcher": "slurm"}, False, "hydra/launcher=slurm is for the jobs of a sweep: add -m"),
    ],
)
def test_options_of_a_sweep_need_a_sweep(choices: dict[str, str], preview: bool, message: str) -> None:
    chosen = {"hydra/sweeper": "basic", "hydra/launcher": "basic"} | choices
    with pytest.raises(InputError, match=message):
        require_no_sweep(chosen, preview)


@pytest.mark.parametrize(("launcher", "extra"), [("ray", "ray"), ("submitit_slurm", "slurm")])
def test_launchers_name_their_extras(launcher: str, extra: str) -> None:
    error = MissingConfigException(f"Could not load 'hydra/launcher/{launcher}'.", f"hydra/launcher/{launcher}")
    assert str(explain(error)).endswith(f"pip install 'adamct[{extra}]'")
