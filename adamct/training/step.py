"""The loss of a training step, and its compilation."""

from collections.abc import Callable

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor

from adamct.batch import Batch
from adamct.errors import require
from adamct.losses.cross_entropy import cross_entropy
from adamct.models.base import NextItemModel, VectorModel
from adamct.scores import in_single_precision
from adamct.values import CompileMode

Loss = Callable[[VectorModel, Batch], Tensor]
Objective = Callable[[Tensor, Tensor, Tensor | None, Tensor, bool], Tensor]
"""A loss of queries (M, D), the item table (V, D), its biases (V,), targets (M,), and `padding_is_a_class`."""


def training_loss(model: VectorModel, batch: Batch, objective: Objective = cross_entropy) -> Float[Tensor, ""]:
    """Return the objective of the model's pairs plus its penalty, in single precision or the weights' wider one.

    Gradients are averaged over processes, so that the objective is the mean over the pairs of all of them.
    """
    queries, targets = model.training_pairs(batch)
    with torch.autocast(queries.device.type, enabled=False):
        vectors = in_single_precision(queries, model.item_table(), model.item_bias())
        loss = objective(*vectors, targets, model.padding_is_a_class)
        return weighted_by_pairs(loss, len(targets)) + model.penalty(batch)


def weighted_by_pairs(loss: Float[Tensor, ""], num_pairs: int) -> Float[Tensor, ""]:
    """Multiply a process's mean loss so that the mean over the processes is the mean over all of their pairs."""
    if not torch.distributed.is_initialized():
        return loss
    all_pairs = torch.tensor(float(num_pairs), device=loss.device)
    torch.distributed.all_reduce(all_pairs)
    return loss * (num_pairs * torch.distributed.get_world_size() / all_pairs)


def compiled(loss: Loss, mode: CompileMode, model: NextItemModel, num_widths: int) -> Loss:
    """Return a loss that `torch.compile` compiles once for each shape of a batch.

    The LightningModule is not compiled because its logging cannot be. The model is not compiled so that checkpoints
    keep their keys. Each width has two shapes: a full batch, and a smaller one at an epoch's end.

    Args:
        loss: the loss of a model and a batch.
        mode: the mode of `torch.compile`.
        model: the model that the loss is called with.
        num_widths: the number of widths that batches have.

    Raises:
        InputError: the shapes of the model depend on the data.
    """
    name = type(model).__name__
    require(
        not model.all_positions,
        f"compile={mode}: {name} predicts another number of items at every step, so each step would compile again; "
        "give compile=null",
    )
    import torch._dynamo  # takes seconds

    torch.compiler.reset()  # earlier jobs of this process count towards the limit
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 2 * num_widths)
    return torch.compile(loss, mode=mode, dynamic=False)
