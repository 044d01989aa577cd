"""Models without dropout, for tests that compare two computations of a loss."""

from torch import nn

from adamct.models.base import VectorModel
from adamct.models.layers import MultiHeadAttention


def without_dropout(model: VectorModel) -> VectorModel:
    """Set every dropout of a model to 0, also that of the attention weights."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, MultiHeadAttention):
            module.dropout = 0.0
    return model
