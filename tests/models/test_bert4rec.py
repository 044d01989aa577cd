"""BERT4Rec against loops written from its paper."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from adamct.batch import Batch, DataSpec
from tests.models.oracles import (
    Array,
    Build,
    agree,
    array,
    everywhere,
    gelu,
    layer_norm,
    linear,
    lists,
    scores,
    transformer,
)


def cloze(model: Any, items: Sequence[int], hidden: Sequence[int]) -> Array:
    """Fill in the masks at the positions ``hidden`` (Eq. 1 to 7), with the authors' two additional norms."""
    table, positions = array(model.item_embedding.weight), array(model.position_embedding.weight)
    masked = [array(model.mask_embedding) if t in hidden else table[item] for t, item in enumerate(items)]
    x = layer_norm(np.array(masked) + positions[: len(items)], model.embedding_norm)
    for layer in model.layers:
        x = transformer(x, layer, everywhere)
    return layer_norm(gelu(linear(x[list(hidden)], model.head)), model.head_norm)


def distinct(lengths: Sequence[int], width: int) -> tuple[DataSpec, Batch]:
    """Make a batch of distinct items, so that an item determines its position."""
    count, seq_len = len(lengths), torch.tensor(lengths)
    items = torch.arange(1, count * (width + 1) + 1).view(count, -1)
    target = items.gather(1, seq_len[:, None]).squeeze(1)
    item_seq = items[:, :width].masked_fill(torch.arange(width) >= seq_len[:, None], 0)
    spec = DataSpec(items.numel(), count, width, torch.zeros(items.numel() + 1))
    return spec, Batch(torch.arange(count), item_seq, seq_len, target)


def test_prediction_fills_in_a_mask_after_the_history(make_model: Build, batch: Batch) -> None:
    model = make_model("bert4rec", inner_size=12)
    for history, ours in zip(lists(batch), scores(model, batch), strict=True):
        filled = cloze(model, [*history, 0], [len(history)])[0]
        agree(ours, array(model.item_embedding.weight) @ filled + array(model.output_bias))


@pytest.mark.parametrize("mask_prob", [0.01, 0.5, 0.99])
def test_training_fills_in_masked_items_and_targets(mask_prob: float, make_model: Build) -> None:
    spec, batch = distinct((1, 8, 3, 5, 12), 12)
    model = make_model("bert4rec", spec=spec, inner_size=12, mask_prob=mask_prob, last_prob=0.0)
    pairs, targets = model.training_pairs(batch)
    expected, items_hidden = [], []
    for history, target in zip(lists(batch), batch.target.tolist(), strict=True):
        items = [*history, target]
        hidden = [t for t, item in enumerate(items) if item in targets.tolist()]
        assert hidden
        expected.append(cloze(model, items, hidden))
        items_hidden += [items[t] for t in hidden]
    assert targets.tolist() == items_hidden
    agree(pairs, np.concatenate(expected))


@pytest.mark.parametrize("last_prob", [0.0, 0.3, 1.0])
def test_a_share_of_histories_has_only_the_last_item_masked(last_prob: float, make_model: Build) -> None:
    spec, batch = distinct([12] * 500, 12)
    model = make_model("bert4rec", spec=spec, num_layers=1, mask_prob=0.4, last_prob=last_prob)
    pairs, targets = model.training_pairs(batch)
    user, position = (targets - 1) // 13, (targets - 1) % 13
    alone = (torch.bincount(user, minlength=500)[user] == 1) & (position == 12)
    rest = 500 - int(alone.sum())
    assert rest / 500 == pytest.approx(1 - last_prob, abs=0.08 if last_prob < 1 else 0)
    assert torch.bincount(position[~alone], minlength=13).tolist() == pytest.approx([0.4 * rest] * 13, abs=0.1 * rest)
    agree(pairs[alone], array(model.queries(batch))[user[alone].numpy()])
