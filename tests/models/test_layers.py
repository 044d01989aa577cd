"""The shared layers against what they stand for."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adamct.batch import Batch
from adamct.models.layers import (
    MultiHeadAttention,
    causal_mask,
    circular_convolution,
    last_items,
    select_positions,
)
from tests.models.oracles import SPEC, WINDOW, Build, Histories, array, lists, row_of


def test_causal_mask_allows_the_items_up_to_the_query(batch: Batch) -> None:
    allowed = causal_mask(batch.item_seq != 0) == 0
    for b, row in enumerate(batch.item_seq.tolist()):
        for i in range(len(row)):
            assert allowed[b, 0, i].tolist() == [j <= i and row[j] != 0 for j in range(len(row))]


@pytest.mark.parametrize("count", [1, 4, 20, None])
def test_last_items_are_left_padded(batch: Batch, count: int | None) -> None:
    width = batch.item_seq.shape[1] if count is None else count
    expected = [([0] * width + history)[-width:] for history in lists(batch)]
    assert last_items(batch.item_seq, batch.seq_len, count).tolist() == expected


@pytest.mark.parametrize("name", ["caser", "hgn"])
def test_only_the_items_of_the_window_matter(name: str, make_model: Build, histories: Histories) -> None:
    model, history = make_model(name, window=WINDOW), histories([9], 9, SPEC.num_items).item_seq[0].tolist()
    expected = array(model.queries(row_of(history)))
    for t in range(9):
        changed = [item % SPEC.num_items + 1 if t == i else item for i, item in enumerate(history)]
        same = np.allclose(array(model.queries(row_of(changed))), expected, rtol=0, atol=1e-12)
        assert same == (t < 9 - WINDOW)


def test_select_positions_takes_one_position_of_each_row() -> None:
    hidden = torch.randn(3, 4, 2)
    selected = select_positions(hidden, torch.tensor([2, 0, 3]))
    assert selected.tolist() == [hidden[b, position].tolist() for b, position in enumerate((2, 0, 3))]


def test_attention_is_that_of_every_head_concatenated() -> None:
    torch.manual_seed(0)
    attention, x = MultiHeadAttention(8, 2, 0.0, bias=True).double(), torch.randn(4, 6, 8).double()
    mask = causal_mask(torch.arange(6) < torch.tensor([6, 5, 1, 3])[:, None])
    query, key, value = attention.query_key_value(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(query, key, value, mask.double()).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(x, mask), expected)


def test_attention_without_dropout_is_the_same_in_training() -> None:
    torch.manual_seed(0)
    attention, x = MultiHeadAttention(8, 2, 0.0, bias=True), torch.randn(4, 6, 8)
    mask = causal_mask(torch.ones(4, 6, dtype=torch.bool))
    assert torch.equal(attention.train()(x, mask), attention.eval()(x, mask))


@pytest.mark.parametrize("max_len", [1, 2, 7, 12])
def test_circular_convolution_multiplies_spectra(max_len: int) -> None:
    rng = np.random.default_rng(0)
    everywhere, frequencies = range(max_len), range(max_len // 2 + 1)
    spectrum = rng.standard_normal(len(frequencies)) + 1j * rng.standard_normal(len(frequencies))
    for position in (list(everywhere), list(everywhere)[-3:], [max_len // 2]):
        x, filtered = np.zeros(max_len), np.zeros(max_len)
        x[position] = rng.standard_normal(len(position))
        for f in frequencies:
            wave = np.array([np.exp(2j * np.pi * f * t / max_len) for t in everywhere])
            part = spectrum[f] * sum(x[t] / wave[t] for t in everywhere) / max_len * wave
            filtered += part.real if 2 * f % max_len == 0 else 2 * part.real  # with the conjugate frequency
        matrix = circular_convolution(torch.tensor(spectrum), max_len, torch.tensor(position))
        np.testing.assert_allclose(array(matrix) @ x[position], filtered[position], rtol=0, atol=1e-12)
