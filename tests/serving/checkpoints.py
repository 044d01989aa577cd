"""The content of checkpoints, and the errors of loading them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import adamct
from adamct.batch import DataSpec
from adamct.errors import InputError
from adamct.serving.rebuild import rebuild
from tests.conftest import composed

ITEMS = 30
SPEC = DataSpec(num_items=ITEMS, num_users=8, max_len=6, item_counts=torch.zeros(ITEMS + 1))
NAMES = [f"item-{number}" for number in range(1, ITEMS + 1)]


def config_of(name: str) -> dict[str, Any]:
    config = OmegaConf.to_container(composed(f"model={name}").model, resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def checkpoint(name: str = "nextitnet") -> dict[str, Any]:
    """Return the content of a run's checkpoint."""
    model = rebuild(config_of(name), SPEC)
    return {
        "identity": {"model": config_of(name), "dataset": {"num_items": ITEMS, "num_users": 8, "max_len": 6}},
        "item_ids": list(NAMES),
        "state_dict": {f"model.{key}": value for key, value in model.state_dict().items()},
    }


def error_line(folder: Path, content: object) -> str:
    """Return the error message of loading a checkpoint with some content."""
    torch.save(content, folder / "bad.ckpt")
    with pytest.raises(InputError) as error:
        adamct.load(folder / "bad.ckpt")
    line = str(error.value)
    assert line.startswith(f"{folder / 'bad.ckpt'}: ")
    assert "\n" not in line
    return line.removeprefix(f"{folder / 'bad.ckpt'}: ")
