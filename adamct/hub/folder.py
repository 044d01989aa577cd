"""The folder of an exported model: weights, config, item ids and the model card. Nothing in it is executed."""

import json
from pathlib import Path
from typing import Any

from adamct.errors import InputError, on_one_line, require, writing
from adamct.extras import require_extra
from adamct.runs.folder import write_whole

WEIGHTS, CONFIG, ITEMS, CARD = "model.safetensors", "config.json", "items.json", "README.md"
MODEL = "model."
"""The prefix of the model's weights in a checkpoint."""


def write_folder(folder: Path, checkpoint: dict[str, Any], card: str) -> None:
    """Write a model's folder.

    Args:
        folder: the folder, which is new, empty or an earlier export.
        checkpoint: the content of a run's checkpoint.
        card: the text of the model card.

    Raises:
        InputError: the extra is missing, or the folder holds something else.
    """
    require_extra("hub", "the Hub")
    from safetensors.torch import save

    others = folder.exists() and any(folder.iterdir()) and not (folder / CONFIG).exists()
    require(not others, f"{folder}: holds other files; give a new folder")
    state = checkpoint["state_dict"].items()
    weights = {name.removeprefix(MODEL): value.clone() for name, value in state if name.startswith(MODEL)}
    config = {"library_name": "adamct", **{key: checkpoint["identity"][key] for key in ("model", "dataset")}}
    with writing(folder):
        write_whole(folder / WEIGHTS, save(weights, {"format": "pt"}))
        write_whole(folder / ITEMS, json.dumps(checkpoint["item_ids"], ensure_ascii=False).encode())
        write_whole(folder / CARD, card.encode())
        write_whole(folder / CONFIG, f"{json.dumps(config, indent=2)}\n".encode())


def read_folder(folder: Path) -> dict[str, Any]:
    """Return the content of a model's folder, in the form of a checkpoint.

    Raises:
        InputError: the extra is missing, or a file is missing or damaged.
    """
    missing = [name for name in (CONFIG, ITEMS, WEIGHTS) if not (folder / name).is_file()]
    require(
        not missing,
        f"{folder}: lacks {', '.join(missing)} of an exported model; give a folder that python -m adamct.hub export "
        "wrote, or a run's checkpoints/best.ckpt",
    )
    require_extra("hub", "the Hub")
    from safetensors.torch import load_file

    name = CONFIG
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        name = ITEMS
        item_ids = json.loads((folder / ITEMS).read_bytes())
        name = WEIGHTS
        weights = load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors raises several types
        raise InputError(f"{folder / name}: cannot be read ({on_one_line(error):.200}); is it complete?") from error
    return {
        "identity": config,
        "item_ids": item_ids,
        "state_dict": {f"{MODEL}{name}": value for name, value in weights.items()},
    }
