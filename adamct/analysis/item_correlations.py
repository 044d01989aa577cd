"""The similarity of a history's items to the parts of AdaMCT's last layer: the maps of the paper's Figures 5, 7, 8."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adamct.batch import EvaluationBatch
from adamct.errors import InputError
from adamct.models.adamct import AdaMCT
from adamct.runs.folder import CORRELATIONS, write_arrays
from adamct.values import Checked, PositiveInt, Text

PARTS = {"local": "local_gate", "global": "global_gate", "mixture": "mixture"}
"""The names of the compared representations, and the part of a layer that outputs each."""


class ItemCorrelations(Checked, pl.Callback):
    """The file ``item_correlations.npz`` with the maps of the test users with the longest histories.

    The maps ``local``, ``global`` and ``mixture`` are (users, N, N). Only the first ``seq_len`` rows and columns of a
    user are meaningful. ``item_seq`` has the histories, and ``user`` the users.

    Args:
        folder: the run's folder.
        num_users: the number of users.

    Raises:
        InputError: the model is not AdaMCT. It is raised when testing begins.
    """

    def __init__(self, folder: Text, num_users: PositiveInt):
        self.folder = Path(folder)
        self.num_users = num_users

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the class of the model before the test takes time."""
        if not isinstance(pl_module.model, AdaMCT):
            name = type(pl_module.model).__name__
            raise InputError(f"callbacks=item_correlations: the model must be AdaMCT, not {name}; give model=adamct")

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvaluationBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first batch, which has the longest histories."""
        if batch_idx == 0:
            self.first_batch = batch.histories

    @torch.no_grad()
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file. The hooks of other callbacks have been removed by now."""
        if trainer.is_global_zero:
            assert isinstance(pl_module.model, AdaMCT)
            user, item_seq, seq_len = (tensor[: self.num_users] for tensor in self.first_batch[:3])
            arrays = {"user": user, "item_seq": item_seq, "seq_len": seq_len}
            for name, features in last_layer_outputs(pl_module.model, item_seq).items():
                arrays[name] = correlations(features, item_seq != 0)
            write_arrays(self.folder / CORRELATIONS, {key: value.numpy(force=True) for key, value in arrays.items()})


def last_layer_outputs(model: AdaMCT, item_seq: Int[Tensor, "B N"]) -> dict[str, Float[Tensor, "B N D"]]:
    """Return the output of each of `PARTS` for every position, in the last layer."""
    outputs: dict[str, Tensor] = {}
    layer = model.layers[-1]
    handles = [
        getattr(layer, part).register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output}))
        for name, part in PARTS.items()
    ]
    model.hidden_states(item_seq)
    for handle in handles:
        handle.remove()
    return outputs


def correlations(features: Float[Tensor, "B N D"], visible: Bool[Tensor, "B N"]) -> Float[Tensor, "B N N"]:
    """Compute softmax(F F^T) over the visible items, as the text under Figure 5. Rows of padding are meaningless."""
    features = features.float()  # NumPy has no bfloat16
    products = features @ features.mT
    return products.masked_fill(~visible.unsqueeze(1), -torch.inf).softmax(-1)
