"""Which items of a history are alike to the parts of AdaMCT's last layer: the maps of the paper's Figures 5, 7, 8."""

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
"""The representations that are compared, and the part of a layer that each is the output of."""


class ItemCorrelations(Checked, pl.Callback):
    """Writes the maps of the test users with the longest histories to ``item_correlations.npz``.

    ``local``, ``global`` and ``mixture`` are (users, N, N), of which ``seq_len`` rows and columns count; ``item_seq``
    are the histories, ``user`` the users.

    Args:
        folder: the run's folder.
        num_users: how many users.

    Raises:
        InputError: when testing begins, where the model is not AdaMCT.
    """

    def __init__(self, folder: Text, num_users: PositiveInt):
        self.folder = Path(folder)
        self.num_users = num_users

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the model before anything takes time."""
        if not isinstance(pl_module.model, AdaMCT):
            raise InputError(f"item correlations are of AdaMCT's branches, not of {type(pl_module.model).__name__}")

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvaluationBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what comes first: batches begin with the longest histories."""
        if batch_idx == 0:
            self.first = batch.histories

    @torch.no_grad()
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file, now that nobody listens to the model's parts any more."""
        if trainer.is_global_zero:
            assert isinstance(pl_module.model, AdaMCT)
            user, item_seq, seq_len = (x[: self.num_users] for x in self.first[:3])
            found = {"user": user, "item_seq": item_seq, "seq_len": seq_len}
            for name, features in last_layer(pl_module.model, item_seq).items():
                found[name] = correlations(features, item_seq != 0)
            write_arrays(self.folder / CORRELATIONS, {key: value.numpy(force=True) for key, value in found.items()})


def last_layer(model: AdaMCT, item_seq: Int[Tensor, "B N"]) -> dict[str, Float[Tensor, "B N D"]]:
    """Return the output of each of `PARTS` for every position, in the last layer."""
    found: dict[str, Tensor] = {}
    layer = model.layers[-1]
    handles = [
        getattr(layer, part).register_forward_hook(lambda _, __, output, name=name: found.update({name: output}))
        for name, part in PARTS.items()
    ]
    model.hidden_states(item_seq)
    for handle in handles:
        handle.remove()
    return found


def correlations(features: Float[Tensor, "B N D"], visible: Bool[Tensor, "B N"]) -> Float[Tensor, "B N N"]:
    """Softmax(F F^T) over the visible items, as under Figure 5; what rows of padding hold is meaningless."""
    features = features.float()  # NumPy knows no bfloat16
    products = features @ features.mT
    return products.masked_fill(~visible.unsqueeze(1), -torch.inf).softmax(-1)
