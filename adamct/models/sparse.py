"""Sparse counts, from which models without training score."""

import numpy as np
import torch
from jaxtyping import Int
from scipy.sparse import csr_array
from torch import Tensor, nn

from adamct.errors import naming_key

ARRAYS = ("indptr", "indices", "data")
"""The arrays of a matrix in compressed rows, by their names in scipy."""


class SparseCounts(nn.Module):
    """The number of times that each pair of a row and a column occurs, as a sparse matrix whose arrays are buffers.

    The arrays are as long as the data needs, so loading takes any number of entries from a checkpoint.

    Args:
        row: the row of each pair.
        column: its column.
        shape: the shape of the matrix.
    """

    indptr: Tensor
    indices: Tensor
    data: Tensor

    def __init__(self, row: Int[np.ndarray, " M"], column: Int[np.ndarray, " M"], shape: tuple[int, int]):
        super().__init__()
        self.shape = shape
        self.matrix: csr_array | None = None
        counts = csr_array((np.ones_like(row), (row, column)), shape)
        for name in ARRAYS:
            self.register_buffer(name, torch.from_numpy(getattr(counts, name).astype(np.int64)))
        self.register_load_state_dict_pre_hook(resize)
        self.register_load_state_dict_post_hook(check)

    def csr(self) -> csr_array:
        """Return the matrix, which is copied from the device once."""
        if self.matrix is None:
            indptr, indices, data = (getattr(self, name).numpy(force=True) for name in ARRAYS)
            self.matrix = csr_array((data, indices, indptr), self.shape)
        return self.matrix


def resize(module: SparseCounts, state_dict: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Give a module as many entries as a checkpoint has, and forget its matrix."""
    module.matrix = None
    for name in ("indices", "data"):
        loaded = state_dict.get(prefix + name)
        if isinstance(loaded, Tensor) and loaded.is_contiguous():  # no more entries than the file has
            setattr(module, name, getattr(module, name).new_empty(loaded.numel()))


def check(module: SparseCounts, incompatible_keys: object) -> None:
    """Refuse loaded arrays that are not a matrix: scipy would read and write outside of its memory.

    Raises:
        InputError: an index is out of range, or the arrays do not fit together.
    """
    with naming_key("a sparse matrix of the checkpoint"):
        module.csr().check_format(full_check=True)
