"""Changes of a batch or of the item ids that change no score, for every model that has a YAML."""

import pytest
import torch
from torch import Tensor

from tests.conftest import MODELS, SPARSE
from tests.models.oracles import SPEC, Build, Histories, cut, scores

LENGTHS = (1, 2, 3, 5, 6, 9, 12)


def assert_equal_but_for_rounding(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-11 * expected.abs().max().item())


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_rows_of_a_batch_do_not_influence_each_other(name: str, make_model: Build, histories: Histories) -> None:
    model, batch = make_model(name), histories(LENGTHS, SPEC.max_len, SPEC.num_items)
    whole = scores(model, batch)
    for row, length in enumerate(LENGTHS):
        for others in ([], [0, 3], [row, row], [6]):
            rows = [row, *others]
            width = SPEC.max_len if model.pad_to_max_len else max(length, *(LENGTHS[other] for other in others), 1)
            part = cut(batch.select(rows), width)
            assert_equal_but_for_rounding(scores(model, part)[0], whole[row])


@torch.no_grad()
@pytest.mark.parametrize("name", sorted({*MODELS} - {*SPARSE}))
def test_relabelling_the_items_permutes_the_scores(name: str, make_model: Build, histories: Histories) -> None:
    model, batch = make_model(name), histories(LENGTHS, SPEC.max_len, SPEC.num_items)
    before = scores(model, batch)
    label = torch.cat([torch.zeros(1, dtype=torch.long), torch.randperm(SPEC.num_items) + 1])  # padding stays 0
    tables = [tensor for tensor in model.state_dict().values() if len(tensor) == SPEC.num_items + 1]
    assert tables
    for table in tables:
        table[label] = table.clone()
    after = scores(model, batch._replace(item_seq=label[batch.item_seq]))
    assert_equal_but_for_rounding(after[:, label], before)
