"""LRURec against loops written from its paper."""

import numpy as np
import pytest
import torch

from adamct.batch import Batch, DataSpec
from adamct.models.lrurec import LARGEST_RADIUS, SMALLEST_RADIUS, LinearRecurrence
from tests.models.oracles import Array, Build, agree, array, gelu, layer_norm, linear, lists, scores


def recurrence(x: Array, layer: LinearRecurrence) -> Array:
    """Compute Re(C h_k) for each item, with complex numbers (Eq. 5)."""
    weight, bias, out = array(layer.input.weight), array(layer.input.bias), array(layer.output.weight)
    b, b_bias, c = weight[::2] + 1j * weight[1::2], bias[::2] + 1j * bias[1::2], out[:, ::2] - 1j * out[:, 1::2]
    nu, theta, gamma = (np.exp(array(log)) for log in (layer.log_decay, layer.log_angle, layer.log_scale))
    lambda_ = np.exp(-nu + 1j * theta)
    h, y = np.zeros(len(nu), complex), []
    for x_k in x:
        h = lambda_ * h + gamma * (b @ x_k + b_bias)
        y.append((c @ h).real + array(layer.output.bias))
    return np.stack(y)


@pytest.mark.parametrize("length", [1, 2, 50])
def test_recurrence_is_equation_5_of_complex_numbers(length: int) -> None:
    torch.manual_seed(0)
    layer = LinearRecurrence(hidden_size=4, state_size=6).double()
    x = torch.randn(length, 3, 4, dtype=torch.float64)
    ours = layer(x)
    for row in range(3):
        agree(ours[:, row], recurrence(array(x[:, row]), layer), 1e-12)


def test_lrurec_is_equations_5_to_10(make_model: Build, batch: Batch) -> None:
    model = make_model("lrurec", state_size=6, inner_size=12)
    table = array(model.item_embedding.weight)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        x = layer_norm(table[history], model.norm)
        for block in model.blocks:
            x = layer_norm(x + recurrence(x, block.recurrence), block.recurrence_norm)
            x = layer_norm(x + linear(gelu(linear(x, block.inner)), block.outer), block.norm)
        agree(ours, table @ x[-1] + array(model.bias))


def test_eigenvalues_start_in_a_ring_with_inputs_normalised() -> None:
    torch.manual_seed(0)
    layer = LinearRecurrence(hidden_size=1, state_size=20_000).double()
    radius, angle = (-layer.log_decay.exp()).exp().detach(), layer.log_angle.exp().detach()
    assert (radius > SMALLEST_RADIUS).all()
    assert (radius < LARGEST_RADIUS).all()
    area = (radius**2 - SMALLEST_RADIUS**2) / (LARGEST_RADIUS**2 - SMALLEST_RADIUS**2)
    for share in (area, angle / (2 * torch.pi)):  # uniform in area and in angle
        assert torch.histc(share, 4, 0, 1).div(20_000).tolist() == pytest.approx([0.25] * 4, abs=0.02)
    agree(layer.log_scale.exp() ** 2, 1 - radius**2, 1e-5)


def test_half_precision_weights_keep_their_powers() -> None:
    torch.manual_seed(0)
    layer = LinearRecurrence(hidden_size=1, state_size=64).bfloat16()
    rounded = LinearRecurrence(hidden_size=1, state_size=64).double()
    rounded.load_state_dict(layer.state_dict())
    position = torch.arange(50)
    agree(layer.powers(position), rounded.powers(position), 1e-4)


def test_parameters_are_the_authors_with_two_for_a_complex_number(build: Build) -> None:
    V, D, S, inner = 12_102, 64, 128, 256
    model = build(DataSpec(V - 1, 22_363, 50, torch.zeros(V)), "model=lrurec", hidden_size=D)
    embeddings = V * D + 2 * D + V  # E, LayerNorm, b_o
    unused = D  # the imaginary part of C's bias
    recurrent = 2 * (D * S + S) + 2 * (S * D + D) - unused + 3 * S  # B, C; ν, θ, γ
    feed_forward = D * inner + inner + inner * D + D
    expected = embeddings + 2 * (recurrent + feed_forward + 2 * 2 * D)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == 920_390
