"""The search spaces of ``conf/search``: one for each model that has something to search."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution

from adamct.batch import DataSpec
from adamct.keys import flat
from adamct.models.base import NextItemModel
from adamct.runs.schema import check
from adamct.search.constraints import Constraint
from adamct.search.space import parse_parameter
from tests.conftest import CONF, MODELS, Ended, changed

SPEC = DataSpec(num_items=30, num_users=8, max_len=50, item_counts=torch.zeros(31))
SPACES = sorted(path.stem for path in (CONF / "search").glob("*.yaml"))
NOTHING_TO_SEARCH = {"popularity"}


def search_of(model: str) -> DictConfig:
    """Compose the config of a model's search, with Hydra's own."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["sweep=search", f"model={model}", "dataset=beauty", "logger=none", "output_dir=out"]
        return compose("config", overrides, return_hydra_config=True)


def ends(params: Mapping[str, str]) -> list[list[str]]:
    """Return the overrides of the first value of every key, and those of the last."""
    first, last = [], []
    for override in OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()]):
        key, distribution, texts = parse_parameter(override)
        if isinstance(distribution, CategoricalDistribution):
            values = list(texts.values())
        else:
            values = [distribution.low, distribution.high]  # pyright: ignore[reportAttributeAccessIssue]
        first.append(f"{key}={values[0]}")
        last.append(f"{key}={values[-1]}")
    return [first, last]


def test_every_model_that_trains_has_a_space() -> None:
    assert set(MODELS) - set(SPACES) == NOTHING_TO_SEARCH


QUICK = ("adamct", "nextitnet")


@pytest.mark.parametrize(
    "model",
    [pytest.param(m, marks=[pytest.mark.slow] * (m not in QUICK)) for m in sorted({*SPACES} & {*MODELS})],
)
def test_model_takes_the_ends_of_every_range(model: str) -> None:
    search = search_of(model)
    sweeper, base = search.hydra.sweeper, OmegaConf.masked_copy(search, [str(key) for key in search if key != "hydra"])
    assert sweeper._target_.endswith("OptunaSweeper")
    constraints: list[Constraint] = [instantiate(constraint) for constraint in sweeper.constraints]
    for overrides in ends(sweeper.params):
        assert all(OmegaConf.select(base, override.partition("=")[0]) is not None for override in overrides)
        config = changed(base.copy(), *overrides)
        check(config)
        assert all(allows(flat(config)) for allows in constraints)
        assert isinstance(instantiate(config["model"], _partial_=True)(SPEC), NextItemModel)


def test_model_without_a_space_is_refused_in_one_line(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run("sweep=search", "model=popularity", f"hydra.sweep.dir={tmp_path}")
    assert ended.code == 1
    assert "search=popularity: must be one of adamct, " in ended.line
