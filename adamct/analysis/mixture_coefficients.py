"""The mixture coefficients of AdaMCT: logged during training (the paper's Figure 6), and recorded for test users."""

from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from adamct.batch import EvaluationBatch
from adamct.dataset import Dataset
from adamct.loggers.base import log_histogram
from adamct.models.adamct_layers import Coefficient
from adamct.runs.folder import COEFFICIENTS, write_arrays

FOLLOWED_USERS = (0, 1)
"""Users whose coefficients are logged in each epoch."""
QUANTILES = (0.1, 0.9)
"""The logged quantiles over users."""


class Listener:
    """Forward hooks that keep each user's coefficient in every layer during an evaluation.

    Args:
        module: the module with the coefficients. Without any there are no hooks.
    """

    def __init__(self, module: nn.Module):
        parts = [part for part in module.modules() if isinstance(part, Coefficient)]
        self.users: list[Int[Tensor, " B"]] = []
        self.layers: list[list[Float[Tensor, " B"]]] = [[] for _ in parts]
        """The coefficients of each batch, by layer."""
        self.handles = [
            part.register_forward_hook(self._keep_output(batches))
            for part, batches in zip(parts, self.layers, strict=True)
        ]

    def _keep_output(self, batches: list[Float[Tensor, " B"]]) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Float[Tensor, "B 1 1"]) -> None:
            batches.append(output.detach().flatten())

        return hook

    def stop(self, trainer: pl.Trainer, num_users: int) -> list[tuple[Float[Tensor, " U"], Bool[Tensor, " U"]]]:
        """Remove the hooks and collect the coefficients of all processes.

        Returns:
            For each layer, the coefficient of each user and whether the user was evaluated.
        """
        for handle in self.handles:
            handle.remove()
        results = []
        for batches in self.layers:
            # Only one process evaluates a user, so the sum over processes joins their vectors.
            alpha = torch.zeros(2, num_users, device=trainer.strategy.root_device)
            users = torch.cat(self.users)
            alpha[0, users], alpha[1, users] = torch.cat(batches).to(alpha.dtype), 1.0
            values, evaluated = trainer.strategy.reduce(alpha, reduce_op="sum")
            results.append((values, evaluated > 0))
        return results


class MixtureMonitor(pl.Callback):
    """Logged statistics of every layer's coefficient α over the validation users, after each epoch.

    The logged values are ``mixture/layerL/mean``, ``std``, the quantiles ``q10`` and ``q90``, ``userU`` for a few fixed
    users, and a histogram if the logger has histograms.

    Args:
        num_users: the number of users.
    """

    def __init__(self, num_users: int) -> None:
        self.num_users = num_users

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to keep coefficients."""
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
        """Keep the users of the batch, in the order of the kept coefficients."""
        self.listener.users.append(batch.histories.user)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the coefficients, and remove the hooks."""
        for layer, (alpha, validated) in enumerate(self.listener.stop(trainer, self.num_users), 1):
            name = f"mixture/layer{layer}"
            followed = {f"{name}/user{user}": alpha[user] for user in FOLLOWED_USERS if user < self.num_users}
            alpha = alpha[validated]
            low, high = alpha.quantile(alpha.new_tensor(QUANTILES))
            spread = {f"{name}/std": alpha.std(), f"{name}/q10": low, f"{name}/q90": high}
            pl_module.log_dict({f"{name}/mean": alpha.mean(), **spread, **followed})
            log_histogram(trainer, f"{name}/histogram", alpha)


class CoefficientRecord(pl.Callback):
    """The file ``coefficients.npz`` with the coefficients of each test user, and the dataset's kinds of users.

    ``layerL`` has the α of each user in layer L, which weights the local branch. It is NaN for users without a test
    item.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to keep coefficients."""
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
        """Keep the users of the batch, in the order of the kept coefficients."""
        self.listener.users.append(batch.histories.user)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file if the model has coefficients, and remove the hooks."""
        data = cast(Dataset, trainer.datamodule)  # pyright: ignore[reportAttributeAccessIssue]
        layers = self.listener.stop(trainer, data.spec.num_users)
        if layers and trainer.is_global_zero:
            alphas = [alpha.masked_fill(~tested, torch.nan) for alpha, tested in layers]
            arrays = {f"layer{layer}": alpha.numpy(force=True) for layer, alpha in enumerate(alphas, 1)}
            write_arrays(self.folder / COEFFICIENTS, {**arrays, **data.user_kinds()})
