"""Recipes: the values that they set, and the learning rate over training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

TUNED = sorted(path.stem for path in (Path(__file__).parents[1] / "conf" / "recipe" / "tuned").glob("*.yaml"))
Configure = Callable[..., DictConfig]


@pytest.mark.parametrize("name", TUNED)
def test_a_tuned_recipe_shortens_its_cell_alone(name: str, configure: Configure) -> None:
    recipe, dataset, model = name.split("_", 2)
    cell = f"dataset={dataset}", f"model={model}"
    with_recipe, default = configure(*cell, f"recipe={recipe}"), configure(*cell)
    assert with_recipe.trainer.max_epochs < default.trainer.max_epochs
    assert with_recipe.model == default.model


def test_recipe_paper_is_the_default(configure: Configure) -> None:
    assert configure("dataset=toys") == configure("dataset=toys", "recipe=paper")
    assert configure("dataset=toys").scheduler is None


@pytest.mark.parametrize("epochs", [1, 2, 5, 25, 30])
def test_the_fast_rate_rises_for_30_percent_then_falls(epochs: int, configure: Configure) -> None:
    cfg = configure("dataset=toys", "recipe=fast", "optimizer.lr=0.01", f"trainer.max_epochs={epochs}")
    optimizer = instantiate(cfg.optimizer)([nn.Parameter(torch.zeros(1))])
    scheduler, rates = instantiate(cfg.scheduler)(optimizer), []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()  # also after the last epoch, as Lightning does
    peak = rates.index(max(rates))
    assert abs(peak - 0.3 * epochs) <= 1
    assert max(rates) <= 0.01
    assert rates[-1] == pytest.approx(0.01 / 25)
    assert rates == sorted(rates[:peak]) + sorted(rates[peak:], reverse=True)
