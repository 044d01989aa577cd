"""The mean training loss of an epoch, without a GPU that waits at every step."""

import torch
from jaxtyping import Float
from torch import Tensor

from adamct.errors import InputError

READ_EVERY = 50
"""Steps between reads of the loss. A read makes a GPU wait."""


class EpochLoss:
    """The sum of an epoch's losses over its examples. It is kept in checkpoints, so a resumed epoch continues it."""

    def __init__(self) -> None:
        self.epoch = -1
        self.total = torch.zeros(())
        """The sum over the examples, without the unread steps."""
        self.examples = 0
        """The number of examples in the sum."""
        self.unread: list[tuple[int, int, Tensor]] = []
        """The step, the number of examples and the loss of each step since the last read."""

    def add(self, epoch: int, step: int, examples: int, loss: Float[Tensor, ""]) -> None:
        """Add a step's mean loss over its examples. Start again from 0 at the first step of another epoch."""
        if self.epoch != epoch:
            self.epoch, self.total, self.examples = epoch, torch.zeros(()), 0
        self.unread.append((step, examples, loss.detach().clone()))  # a clone: CUDA graphs reuse their outputs

    @property
    def is_due(self) -> bool:
        """Whether enough steps have passed to read their losses."""
        return len(self.unread) >= READ_EVERY

    def read(self) -> None:
        """Read the losses since the last read.

        Raises:
            InputError: a loss is NaN or infinite.
        """
        if not self.unread:
            return
        losses = torch.stack([loss for *_, loss in self.unread]).cpu()
        if len(infinite := losses.isfinite().logical_not().nonzero()):
            raise InputError(
                f"the loss is not finite at step {self.unread[infinite[0, 0]][0]} (epoch {self.epoch + 1}): lower "
                "optimizer.lr or set trainer.gradient_clip_val; the checkpoints of earlier epochs are kept"
            )
        for loss, (_, examples, _) in zip(losses, self.unread, strict=True):
            self.total = self.total + loss * examples
            self.examples += examples
        self.unread = []

    def mean(self) -> Float[Tensor, ""]:
        """Return the mean over the epoch's examples so far."""
        self.read()
        return self.total / self.examples

    def state(self) -> tuple[int, float, int]:
        """Return the epoch, the sum and the number of examples, for a checkpoint."""
        self.read()
        return self.epoch, self.total.item(), self.examples

    def load(self, state: tuple[int, float, int]) -> None:
        """Continue from the state in a checkpoint."""
        self.epoch, total, self.examples = state
        self.total = torch.tensor(total)
