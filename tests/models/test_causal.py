"""Training on all positions of causal models."""

import numpy as np
import pytest

from adamct.batch import Batch
from tests.models.oracles import Build, agree, array, lists, row_of


@pytest.mark.parametrize("name", ["esasrec", "gru4rec", "lrurec", "nextitnet", "sasrec"])
def test_all_positions_predict_what_every_prefix_predicts(name: str, make_model: Build, batch: Batch) -> None:
    model = make_model(name, all_positions=True)
    pairs, targets = model.training_pairs(batch)
    whole = [[*row, target] for row, target in zip(lists(batch), batch.target.tolist(), strict=True)]
    prefixes = [(items, n) for items in whole for n in range(1, len(items))]
    assert targets.tolist() == [items[n] for items, n in prefixes]
    agree(pairs, np.concatenate([array(model.queries(row_of(items[:n]))) for items, n in prefixes]))
