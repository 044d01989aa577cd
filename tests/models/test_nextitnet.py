"""NextItNet against loops written from its paper."""

import numpy as np

from adamct.batch import Batch
from adamct.models.nextitnet import CausalConvolution
from tests.models.oracles import SPEC, Array, Build, Histories, agree, array, layer_norm, lists, relu, scores


def convolved(x: Array, convolution: CausalConvolution, dilation: int) -> Array:
    """Convolve each position with those a multiple of the dilation before it, zeros before the first (Section 3.3)."""
    filters, size = array(convolution.weight), convolution.kernel_size[0]
    out = np.tile(array(convolution.bias) if convolution.bias is not None else 0.0, (len(x), 1))
    for t in range(len(x)):
        for back in range(size):
            if t - back * dilation >= 0:
                out[t] += filters[:, :, size - 1 - back] @ x[t - back * dilation]
    return out


def test_blocks_add_two_dilated_convolutions_to_each_state(make_model: Build, batch: Batch) -> None:
    model = make_model("nextitnet", dilations=[1, 3])
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        x = array(model.item_embedding.weight)[history]
        for block, dilation in zip(model.blocks, (1, 3), strict=True):
            inner = relu(layer_norm(convolved(x, block.first, dilation), block.first_norm, eps=1e-8))
            x = x + relu(layer_norm(convolved(inner, block.second, 2 * dilation), block.second_norm, eps=1e-8))
        agree(ours, array(model.output_embedding.weight) @ x[-1] + array(model.output_bias))


def test_a_state_depends_on_its_receptive_field_alone(make_model: Build, histories: Histories) -> None:
    model, length, position = make_model("nextitnet", dilations=[1, 4], kernel_size=3), 44, 38
    history = histories([length], length, SPEC.num_items)
    changed = history.select([0] * length)
    changed.item_seq.diagonal().copy_(history.item_seq[0] % SPEC.num_items + 1)
    moved = (model.states(changed)[:, position] - model.states(history)[:, position]).abs().amax(-1) > 1e-12
    field = 1 + 2 * (1 + 2 + 4 + 8)
    assert moved.nonzero().flatten().tolist() == list(range(position - field + 1, position + 1))
