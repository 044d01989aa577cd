"""The config, the data and the model that a measurement works on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from adamct.models.base import VectorModel
from adamct.randomness import seed_libraries
from datamodules.base import SequenceDataModule

ROOT = Path(__file__).parents[1]


def compose_config(*overrides: str) -> DictConfig:
    """Compose the config with overrides."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", list(overrides))


def build(*overrides: str) -> tuple[DictConfig, SequenceDataModule, VectorModel]:
    """Build the config with overrides, its data and its model."""
    cfg = compose_config(*overrides)
    seed_libraries(cfg.seed)
    data = instantiate(cfg.dataset)
    strategy = SimpleNamespace(root_device=device(cfg))  # all that the data asks of a trainer
    data.trainer = cast(Any, SimpleNamespace(strategy=strategy, global_rank=0, world_size=1))
    model = instantiate(cfg.model, _partial_=True)(data.spec).to(device(cfg))
    return cfg, data, model


def device(cfg: DictConfig) -> torch.device:
    """Return a GPU if there is one and ``trainer`` does not exclude it, and the CPU otherwise."""
    return torch.device("cuda" if cfg.trainer.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
