"""The exported encoder against torch, outside of what exports it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adamct.batch import Batch, DataSpec
from adamct.errors import InputError
from adamct.export import export, main
from adamct.recommender import Recommender
from tests.conftest import CONF, TINY, Ended

onnxruntime = pytest.importorskip("onnxruntime")

SPEC = DataSpec(num_items=30, num_users=8, max_len=6, item_counts=torch.arange(31.0))
NAMES = [f"item-{number}" for number in range(1, 31)]
MODELS = sorted({path.stem for path in (CONF / "model").glob("*.yaml")} - {"gru4rec", "popularity"})


def recommender(build: Callable[..., Any], name: str) -> Recommender:
    torch.manual_seed(0)
    return Recommender(build(SPEC, f"model={name}"), NAMES, SPEC.max_len)


def scores_of(folder: Path, item_seq: np.ndarray, seq_len: np.ndarray, user: np.ndarray) -> np.ndarray:
    """Without torch, from the files alone."""
    session = onnxruntime.InferenceSession(str(folder / "encoder.onnx"))
    given = {"item_seq": item_seq, "seq_len": seq_len, "user": user}
    (query,) = session.run(None, {value.name: given[value.name] for value in session.get_inputs()})
    bias = folder / "item_bias.npy"
    return query @ np.load(folder / "item_table.npy").T + (np.load(bias) if bias.exists() else 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_scores_from_the_files_are_the_models(name: str, build: Callable[..., Any], tmp_path: Path) -> None:
    ours = recommender(build, name)
    assert export(ours, tmp_path) < 1e-5
    assert (tmp_path / "items.txt").read_text().split() == NAMES
    width = SPEC.max_len if ours.model.full_length else 4
    item_seq = np.array([[3, 8, 8, 30], [5, 0, 0, 0], [1, 2, 0, 0]])
    item_seq = np.pad(item_seq, ((0, 0), (0, width - 4)))
    seq_len, user = np.array([4, 1, 2]), np.array([7, 0, 3])
    tensors = (torch.from_numpy(array) for array in (user, item_seq, seq_len, seq_len))
    with torch.no_grad():
        expected = ours.model.queries(Batch(*tensors)) @ ours.model.item_table().T
        if (bias := ours.model.item_bias()) is not None:
            expected = expected + bias
    np.testing.assert_allclose(scores_of(tmp_path, item_seq, seq_len, user), expected.numpy(), atol=1e-5)


@pytest.mark.slow
def test_what_cannot_be_exported_is_said(build: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="GRU4Rec cannot be exported"):
        export(recommender(build, "gru4rec"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command(
    tmp_path: Path, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*TINY, "stages=[fit]", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}").code == 0
    monkeypatch.setattr("sys.argv", ["export", f"{tmp_path}/checkpoints/best.ckpt"])
    main()
    assert "differ from torch's by at most" in capsys.readouterr().out
    assert (tmp_path / "checkpoints" / "onnx" / "encoder.onnx").exists()
    monkeypatch.setattr("sys.argv", ["export", str(tmp_path / "none.ckpt")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == f"error: {tmp_path / 'none.ckpt'}: no such checkpoint"
