"""The exported files against torch's scores, computed without the code of the export."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adamct.batch import Batch, DataSpec
from adamct.errors import InputError
from adamct.models.base import VectorModel
from adamct.serving.export import export, main
from adamct.serving.recommender import Recommender, load
from tests.conftest import CONF, MODELS, SPARSE, TINY, UNTRAINED, Ended

onnxruntime = pytest.importorskip("onnxruntime")

SPEC = DataSpec(num_items=30, num_users=8, max_len=6, item_counts=torch.arange(31.0))
NAMES = [f"item-{number}" for number in range(1, 31)]
EXPORTED = sorted({*MODELS} - {"gru4rec", *UNTRAINED})


def recommender(build: Callable[..., Any], name: str) -> Recommender:
    torch.manual_seed(0)
    return Recommender(build(SPEC, f"model={name}"), NAMES, SPEC.max_len)


def vector_model(ours: Recommender) -> VectorModel:
    assert isinstance(ours.model, VectorModel)
    return ours.model


def scores_of(folder: Path, item_seq: np.ndarray, seq_len: np.ndarray, user: np.ndarray) -> np.ndarray:
    """Compute scores from the exported files, without torch."""
    session = onnxruntime.InferenceSession(str(folder / "encoder.onnx"))
    inputs = {"item_seq": item_seq, "seq_len": seq_len, "user": user}
    (query,) = session.run(None, {value.name: inputs[value.name] for value in session.get_inputs()})
    bias = folder / "item_bias.npy"
    return query @ np.load(folder / "item_table.npy").T + (np.load(bias) if bias.exists() else 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_exported_files_score_as_the_model(name: str, build: Callable[..., Any], tmp_path: Path) -> None:
    ours = recommender(build, name)
    limit = 1e-4 if name == "sine" else 1e-5  # its temperature sharpens rounding
    assert export(ours, tmp_path) < limit
    assert json.loads((tmp_path / "items.json").read_text()) == NAMES
    width = SPEC.max_len if ours.model.pad_to_max_len else 4
    item_seq = np.array([[3, 8, 8, 30], [5, 0, 0, 0], [1, 2, 0, 0]])
    item_seq = np.pad(item_seq, ((0, 0), (0, width - 4)))
    seq_len, user = np.array([4, 1, 2]), np.array([7, 0, 3])
    users, items, lengths = map(torch.from_numpy, (user, item_seq, seq_len))
    with torch.no_grad():
        model = vector_model(ours)
        expected = model.queries(Batch(users, items, lengths, lengths)) @ model.item_table().T
        if (bias := model.item_bias()) is not None:
            expected = expected + bias
    np.testing.assert_allclose(scores_of(tmp_path, item_seq, seq_len, user), expected.numpy(), atol=limit)


@pytest.mark.parametrize("name", SPARSE)
def test_model_without_an_encoder_is_refused(name: str, build: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no encoder to export; its scores are not products of vectors"):
        export(recommender(build, name), tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Looping(VectorModel):
    """A model with a Python loop over a history, which an export would unroll to one length."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(31, 4)

    def queries(self, batch: Batch) -> Tensor:
        state = self.embedding(batch.item_seq[:, 0])
        for item in batch.item_seq.unbind(1)[1:]:
            state = (state + self.embedding(item)).tanh()
        return state

    def item_table(self) -> Tensor:
        return self.embedding.weight


@pytest.mark.slow
def test_model_with_a_loop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Looping cannot be exported"):
        export(Recommender(Looping(), NAMES, SPEC.max_len), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_nan_weights_are_refused_and_leave_no_file(build: Callable[..., Any], tmp_path: Path) -> None:
    ours = recommender(build, "sasrec")
    torch.nn.init.constant_(vector_model(ours).item_table(), torch.nan)
    with pytest.raises(InputError, match="SASRec: the exported queries are off by nan"):
        export(ours, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_item_ids_with_line_breaks_are_kept(build: Callable[..., Any], tmp_path: Path) -> None:
    ours = recommender(build, "sasrec")
    ours.item_ids = ["one\ntwo", *NAMES[1:]]
    export(ours, tmp_path)
    assert json.loads((tmp_path / "items.json").read_text()) == ours.item_ids


@pytest.mark.slow
def test_command_exports_and_prints_the_difference(
    tmp_path: Path, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*TINY, "stages=[fit]", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}").code == 0
    log = tmp_path / "histories.jsonl"
    log.write_text('["3", "8"]\n["12", "new"]\n')
    monkeypatch.setattr("sys.argv", ["export", f"{tmp_path}/checkpoints/best.ckpt", f"--histories={log}"])
    main()
    assert "queries of 2 histories differ from torch's by at most" in capsys.readouterr().out
    assert (tmp_path / "checkpoints" / "onnx" / "encoder.onnx").exists()
    monkeypatch.setattr("sys.argv", ["export", str(tmp_path / "none.ckpt")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == f"error: {tmp_path / 'none.ckpt'}: no such checkpoint"


@pytest.mark.integration
@pytest.mark.slow
def test_exported_recurrent_model_takes_any_length(tmp_path: Path, run: Callable[..., Ended]) -> None:
    """Export in another process: the tests' type checks cannot be traced in its loop."""
    assert run(*TINY, "model=gru4rec", "stages=[fit]", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}").code == 0
    checkpoint, out = tmp_path / "checkpoints" / "best.ckpt", tmp_path / "onnx"
    command = [sys.executable, "-m", "adamct.serving.export", str(checkpoint), f"--out={out}"]
    ended = subprocess.run(command, cwd=CONF.parent, capture_output=True, text=True, check=True)
    assert "differ from torch's by at most" in ended.stdout
    ours = load(checkpoint)
    item_seq, seq_len, user = np.array([[3, 8, 0], [5, 0, 0]]), np.array([2, 1]), np.array([0, 0])
    expected = [dict(row) for row in ours.recommend([["3", "8"], ["5"]], k=60, unseen=False)]
    for scores, row in zip(scores_of(out, item_seq, seq_len, user), expected, strict=True):
        np.testing.assert_allclose(scores[1:], [row[name] for name in ours.item_ids], atol=1e-5)
