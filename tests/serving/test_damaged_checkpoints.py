"""A damaged checkpoint gives one line that says what is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import adamct
from adamct.errors import InputError
from tests.serving.checkpoints import ITEMS, NAMES, checkpoint, error_line

SIZES = {"num_items": ITEMS, "num_users": 8, "max_len": 6}


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: without(c, "identity"), "not a checkpoint of this project"),
        (lambda c: without(c, "item_ids"), "train the model again"),
        (lambda c: without(c, "state_dict"), "KeyError: 'state_dict'"),
        (lambda c: c | {"identity": []}, "not a checkpoint of this project"),
        (lambda c: c | {"identity": {}}, "KeyError: 'dataset'"),
        (lambda c: c | {"identity": without(c["identity"], "model")}, "KeyError: 'model'"),
        (lambda c: c | {"identity": c["identity"] | {"model": ["a"]}}, "has no config of a model"),
        (lambda c: c | {"identity": c["identity"] | {"model": {}}}, "has no config of a model"),
        (lambda c: c | {"identity": c["identity"] | {"dataset": {}}}, "KeyError: 'num_items'"),
        (lambda c: c | {"identity": c["identity"] | {"dataset": SIZES | {"has_times": 1}}}, "has has_times=1"),
        (lambda c: c | {"item_ids": "abc"}, "item_ids"),
        (lambda c: c | {"item_ids": list(range(ITEMS))}, "item_ids"),
        (lambda c: c | {"item_ids": ["a"] * ITEMS}, "item_ids"),
        (lambda c: c | {"item_ids": NAMES[1:]}, "has num_items=30, but 29 item_ids"),
        (lambda c: c | {"state_dict": {}}, "Missing key"),
        (lambda c: c | {"state_dict": []}, "not a complete checkpoint"),
        (lambda c: c | {"state_dict": {1: 2}}, "not a complete checkpoint"),
        (lambda c: c | {"state_dict": dict.fromkeys(c["state_dict"], 0)}, "not a complete checkpoint"),
        (lambda c: c | {"state_dict": {k: v[..., None] for k, v in c["state_dict"].items()}}, "size mismatch"),
        (lambda c: c | {"state_dict": c["state_dict"] | {"model.more": torch.zeros(2)}}, "Unexpected key"),
    ],
)
def test_damaged_checkpoint_is_refused(
    damage: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    assert message in error_line(tmp_path, damage(checkpoint()))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("indices", [0, ITEMS + 1]),
        ("indices", [0, -1]),
        ("indices", [2**40, 1]),
        ("indptr", [0] * ITEMS + [-2, 2]),
        ("indptr", [0] * ITEMS + [0, 3]),
        ("indptr", [1] * ITEMS + [2, 2]),
        ("data", [1]),
    ],
)
def test_sparse_matrix_with_wrong_indices_is_refused(name: str, values: list[int], tmp_path: Path) -> None:
    content, key = checkpoint("markov"), "model.transitions."
    sound = {"indptr": [0] * (ITEMS + 1) + [2], "indices": [1, 2], "data": [3, 1]}
    for array, entries in (sound | {name: values}).items():
        content["state_dict"][key + array] = torch.tensor(entries)
    assert "a sparse matrix of the checkpoint: " in error_line(tmp_path, content)


@pytest.mark.parametrize("size", [0, -1, True, 2.0, "6", None, [6], 10**30, float("nan")], ids=repr)
@pytest.mark.parametrize("key", ["num_items", "num_users", "max_len"])
def test_sizes_must_be_whole_numbers(key: str, size: object, tmp_path: Path) -> None:
    content = checkpoint("sasrec" if key == "max_len" else "hgn")
    content["identity"]["dataset"][key] = size
    assert error_line(tmp_path, content)


def test_missing_device_is_named(tmp_path: Path) -> None:
    torch.save(checkpoint(), tmp_path / "good.ckpt")
    for device in ("cuda:99", "nonsense", "meta:x"):
        with pytest.raises(InputError, match=f"device={device}: "):
            adamct.load(tmp_path / "good.ckpt", device)
