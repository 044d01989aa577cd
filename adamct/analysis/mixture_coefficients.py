"""The mixture coefficients of AdaMCT: over training as logged values (the paper's Figure 6), and of each test user."""

from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from adamct.batch import EvaluationBatch
from adamct.dataset import Dataset
from adamct.loggers import log_histogram
from adamct.models.adamct_layers import Coefficient
from adamct.runs.folder import COEFFICIENTS, write_arrays

FOLLOWED_USERS = (0, 1)


class Listener:
    """Takes down each user's coefficient in every layer while a model is evaluated anyway.

    Args:
        module: what holds the coefficients; without any, listening costs nothing.
    """

    def __init__(self, module: nn.Module):
        found = [part for part in module.modules() if isinstance(part, Coefficient)]
        self.users: list[Int[Tensor, " B"]] = []
        self.seen: list[list[Float[Tensor, " B"]]] = [[] for _ in found]
        self.handles = [
            part.register_forward_hook(self._note(pieces)) for part, pieces in zip(found, self.seen, strict=True)
        ]

    def _note(self, pieces: list[Float[Tensor, " B"]]) -> Any:
        def note(module: nn.Module, inputs: Any, output: Float[Tensor, "B 1 1"]) -> None:
            pieces.append(output.detach().flatten())

        return note

    def joined(self, trainer: pl.Trainer, num_users: int) -> list[tuple[Float[Tensor, " U"], Bool[Tensor, " U"]]]:
        """Stop listening: of every layer each user's coefficient, and who had one, over all processes."""
        for handle in self.handles:
            handle.remove()
        found = []
        for pieces in self.seen:
            # Each user is evaluated by one process, so adding the processes' vectors up joins them.
            alpha = torch.zeros(2, num_users, device=trainer.strategy.root_device)
            users = torch.cat(self.users)
            alpha[0, users], alpha[1, users] = torch.cat(pieces).to(alpha.dtype), 1.0
            values, had = trainer.strategy.reduce(alpha, reduce_op="sum")
            found.append((values, had > 0))
        return found


class MixtureMonitor(pl.Callback):
    """Logs every layer's coefficient α over the validation users after each epoch.

    ``mixture/layerL/mean`` and ``std``, ``mixture/layerL/userU`` for a few fixed users, and a histogram where the
    logger has them.

    Args:
        num_users: how many users there are.
    """

    def __init__(self, num_users: int) -> None:
        self.num_users = num_users

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen."""
        self.listener = Listener(pl_module)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvaluationBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note whose coefficients they were."""
        self.listener.users.append(batch.histories.user)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log, and stop listening."""
        for layer, (alpha, validated) in enumerate(self.listener.joined(trainer, self.num_users), 1):
            name = f"mixture/layer{layer}"
            followed = {f"{name}/user{user}": alpha[user] for user in FOLLOWED_USERS if user < self.num_users}
            alpha = alpha[validated]
            pl_module.log_dict({f"{name}/mean": alpha.mean(), f"{name}/std": alpha.std(), **followed})
            log_histogram(trainer, f"{name}/histogram", alpha)


class CoefficientRecord(pl.Callback):
    """Writes every test user's coefficients to ``coefficients.npz``, and beside them the kinds of users data tells of.

    ``layerL`` holds the α of each user in layer L, the weight of the local branch; NaN for users without a test item.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen."""
        self.listener = Listener(pl_module)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvaluationBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note whose coefficients they were."""
        self.listener.users.append(batch.histories.user)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file, where the model has coefficients."""
        data = cast(Dataset, trainer.datamodule)  # pyright: ignore[reportAttributeAccessIssue]
        layers = self.listener.joined(trainer, data.spec.num_users)
        if layers and trainer.is_global_zero:
            alphas = [alpha.masked_fill(~tested, torch.nan) for alpha, tested in layers]
            arrays = {f"layer{layer}": alpha.numpy(force=True) for layer, alpha in enumerate(alphas, 1)}
            write_arrays(self.folder / COEFFICIENTS, {**arrays, **data.user_kinds()})
