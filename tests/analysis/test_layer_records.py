"""Records of AdaMCT's layers during a test: the coefficients of users, and item correlations."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from adamct.analysis.item_correlations import correlations, last_layer_outputs
from adamct.batch import DataSpec
from adamct.checkpoint import read_checkpoint
from adamct.models.adamct_layers import Coefficient
from tests.conftest import TINY, Ended, composed, give

Run = Callable[..., Ended]
SPEC = DataSpec(num_items=30, num_users=8, max_len=9, item_counts=torch.zeros(31))
CALLBACKS = ("callbacks=[mixture_coefficients,item_correlations]", "callbacks.item_correlations.num_users=4")


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was tested with both callbacks."""
    folder = tmp_path_factory.mktemp("tested")
    with pytest.MonkeyPatch.context() as patch:
        assert give(patch, *TINY, *CALLBACKS, f"hydra.run.dir={folder}").code == 0
    return folder


def model_and_batch(folder: Path) -> tuple[Any, Any]:
    """Return the tested model, and the first test batch."""
    cfg = composed(*TINY)
    data = instantiate(cfg.dataset)
    model = instantiate(cfg.model, _partial_=True)(data.spec)
    weights = read_checkpoint(folder / "checkpoints" / "best.ckpt", {})["state_dict"]
    model.load_state_dict({key.removeprefix("model."): value for key, value in weights.items() if key[:6] == "model."})
    return model.eval(), next(iter(data.test_dataloader())).histories


@torch.no_grad()
def test_recorded_coefficients_belong_to_their_users(tested: Path) -> None:
    model, batch = model_and_batch(tested)
    outputs: list[torch.Tensor] = []
    for part in model.modules():
        if isinstance(part, Coefficient):
            part.register_forward_hook(lambda _, __, output: outputs.append(output.flatten()))
    model.queries(batch)
    with np.load(tested / "coefficients.npz") as record:
        for layer, alpha in enumerate(outputs, 1):
            assert record[f"layer{layer}"][batch.user] == pytest.approx(alpha.numpy(), abs=1e-6)
        data = instantiate(composed(*TINY).dataset)
        assert np.array_equal(record["taste-driven"], data.log.taste_driven)
        assert len(outputs) == 2


def test_correlations_equal_a_loop_over_pairs() -> None:
    features = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    visible = torch.arange(5) < torch.tensor([[5], [3]])
    maps = correlations(features, visible)
    for user, length in enumerate((5, 3)):
        for i in range(length):
            products = [math.exp(float(features[user, i] @ features[user, j])) for j in range(length)]
            expected = [value / sum(products) for value in products] + [0.0] * (5 - length)
            assert maps[user, i].tolist() == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
def test_query_is_computed_from_the_recorded_parts(build: Callable[..., Any], histories: Callable[..., Any]) -> None:
    model = build(SPEC).eval()
    batch = histories([9, 4], 9, 30)
    parts = last_layer_outputs(model, batch.item_seq)
    assert {name: tuple(part.shape) for name, part in parts.items()} == dict.fromkeys(
        parts, (2, 9, model.item_table().shape[1])
    )
    layer, hidden = model.layers[-1], []
    handle = layer.register_forward_pre_hook(lambda _, args: hidden.append(args[0]))
    query = model.queries(batch)
    handle.remove()
    alpha = layer.mixture.coefficient(hidden[0], batch.item_seq != 0)
    mixed = alpha * parts["local"] + (1 - alpha) * parts["global"]
    assert torch.allclose(mixed, parts["mixture"], atol=1e-6)
    last = layer.norm(hidden[0] + layer.output(mixed))[torch.arange(2), batch.seq_len - 1]
    assert torch.allclose(model.head(last), query, atol=1e-5)
    assert not any(part._forward_hooks for part in model.modules())


def test_recorded_maps_are_of_the_longest_histories(tested: Path) -> None:
    model, batch = model_and_batch(tested)
    with np.load(tested / "item_correlations.npz") as record:
        assert record["user"].tolist() == batch.user[:4].tolist()
        assert np.array_equal(record["item_seq"], batch.item_seq[:4].numpy())
        assert record["seq_len"].tolist() == sorted(record["seq_len"].tolist(), reverse=True)
        expected = correlations(last_layer_outputs(model, batch.item_seq[:4])["global"], batch.item_seq[:4] != 0)
        for row, length in enumerate(record["seq_len"]):
            ours = expected[row, :length, :length].detach().numpy()
            assert record["global"][row, :length, :length] == pytest.approx(ours, abs=1e-5)


def test_item_correlations_refuse_another_model(tmp_path: Path, run: Run) -> None:
    ended = run(*TINY, "model=hgn", "callbacks=item_correlations", f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert ended.line == "error: callbacks=item_correlations: the model must be AdaMCT, not HGN; give model=adamct"


def test_model_without_coefficients_writes_no_file(tmp_path: Path, run: Run) -> None:
    assert run(*TINY, "model=hgn", "callbacks=mixture_coefficients", f"hydra.run.dir={tmp_path}").code == 0
    assert not (tmp_path / "coefficients.npz").exists()
