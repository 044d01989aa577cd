"""Training on all positions of causal models."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from adamct.batch import Batch
from tests.conftest import CONF, MODELS
from tests.models.oracles import Build, agree, array, cut, lists

CAUSAL = [name for name in MODELS if "all_positions" in OmegaConf.load(CONF / "model" / f"{name}.yaml")]


def test_causal_models_are_found() -> None:
    assert {"gru4rec", "sasrec"} <= set(CAUSAL)


@pytest.mark.parametrize("name", CAUSAL)
def test_all_positions_predict_what_every_prefix_predicts(name: str, make_model: Build, batch: Batch) -> None:
    model = make_model(name, all_positions=True)
    pairs, targets = model.training_pairs(batch)
    whole = [[*row, target] for row, target in zip(lists(batch), batch.target.tolist(), strict=True)]
    prefixes = [(row, n) for row, items in enumerate(whole) for n in range(1, len(items))]
    assert targets.tolist() == [whole[row][n] for row, n in prefixes]
    single = [cut(batch.select([row]), n)._replace(seq_len=torch.tensor([n])) for row, n in prefixes]
    agree(pairs, np.concatenate([array(model.queries(prefix)) for prefix in single]))
