"""Small models in double precision, and a batch for them."""

from typing import Any

import pytest
import torch
from torch import nn

from adamct.batch import Batch, DataSpec
from tests.conftest import UNTRAINED
from tests.models.oracles import LENGTHS, SPEC, Build, D, Histories


@pytest.fixture
def make_model(build: Build) -> Build:
    """``make_model("sasrec", num_layers=1)``: a small model in eval mode with perturbed weights.

    Its weights are float64, and its padding rows stay 0.
    """

    def make(name: str, spec: DataSpec = SPEC, **keys: object) -> Any:
        torch.manual_seed(0)
        sizes = {} if name in UNTRAINED else {"hidden_size": D}
        model = build(spec, f"model={name}", **sizes, **keys).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
            for module in model.modules():
                if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                    module.weight[module.padding_idx] = 0
        return model

    return make


@pytest.fixture
def batch(histories: Histories) -> Batch:
    return histories(LENGTHS, SPEC.max_len, SPEC.num_items)
