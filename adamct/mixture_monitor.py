"""The mixture coefficients over training: Figure 6 of the paper, as logged values."""

from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor, nn

from adamct.models.adamct import Coefficient

FOLLOWED_USERS = (0, 1)


class MixtureMonitor(pl.Callback):
    """Logs every layer's coefficient α over the validation users after each epoch.

    ``mixture/layerL/mean`` and ``std``, ``mixture/layerL/userU`` for a few fixed users, and a histogram where the
    logger has them. It listens to the validation pass that is made anyway; models without coefficients cost nothing.

    Args:
        num_users: how many users there are.
    """

    def __init__(self, num_users: int) -> None:
        self.num_users = num_users
        self.users: list[Tensor] = []
        self.seen: dict[str, list[Tensor]] = {}
        self.handles: list[torch.utils.hooks.RemovableHandle] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen."""
        coefficients = [module for module in pl_module.modules() if isinstance(module, Coefficient)]
        self.users = []
        self.seen = {f"mixture/layer{layer}": [] for layer in range(1, len(coefficients) + 1)}
        self.handles = [
            module.register_forward_hook(self._listener(name))
            for name, module in zip(self.seen, coefficients, strict=True)
        ]

    def _listener(self, name: str) -> Any:
        def listen(module: nn.Module, inputs: Any, output: Float[Tensor, "B 1 1"]) -> None:
            self.seen[name].append(output.detach().flatten())

        return listen

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note whose coefficients they were."""
        self.users.append(batch.user)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log, and stop listening."""
        for handle in self.handles:
            handle.remove()
        for name, pieces in self.seen.items():
            # Each user is validated by one process, so adding the processes' vectors up joins them.
            alpha = torch.zeros(2, self.num_users, device=pl_module.device)
            users = torch.cat(self.users)
            alpha[0, users], alpha[1, users] = torch.cat(pieces).to(alpha.dtype), 1.0
            alpha, validated = trainer.strategy.reduce(alpha, reduce_op="sum")
            followed = {f"{name}/user{user}": alpha[user] for user in FOLLOWED_USERS if user < self.num_users}
            alpha = alpha[validated > 0]
            pl_module.log_dict({f"{name}/mean": alpha.mean(), f"{name}/std": alpha.std(), **followed})
            log_histogram(trainer, f"{name}/histogram", alpha)


def log_histogram(trainer: pl.Trainer, name: str, values: Float[Tensor, " U"]) -> None:
    """A histogram in those of the run's loggers that draw them."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_histogram(name, values, trainer.global_step)
        elif isinstance(logger, WandbLogger):
            import wandb

            logger.experiment.log({name: wandb.Histogram(values.tolist())}, commit=False)
