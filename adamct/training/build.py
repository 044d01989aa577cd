"""A model and its loss, built for a dataset, in their LightningModule."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adamct.batch import DataSpec
from adamct.dataset import Dataset
from adamct.errors import naming_key
from adamct.identity import identity_of
from adamct.models.base import NextItemModel
from adamct.training.module import NextItemModule
from adamct.training.step import Objective, compiled, training_loss


class Configured(NamedTuple):
    """The constructors that a config chooses."""

    model: Callable[[DataSpec], NextItemModel]
    objective: Callable[[DataSpec], Objective]
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    scheduler: Callable[[Optimizer], LRScheduler] | None
    """None keeps the learning rate."""


def build_module(configured: Configured, data: Dataset, config: dict[str, Any]) -> NextItemModule:
    """Build the model and the loss for a dataset.

    Args:
        configured: the constructors.
        data: the dataset.
        config: the run's resolved config.

    Raises:
        InputError: the model or the loss refuses its values.
    """
    with naming_key("model"):
        model = configured.model(data.spec)
    with naming_key("loss"):
        loss = partial(training_loss, objective=configured.objective(data.spec))
    if config["compile"] is not None:
        loss = compiled(loss, config["compile"], model, num_widths=-(-data.spec.max_len // config["compile_widths"]))
    facts = {name: value for name, value in data.spec._asdict().items() if name != "item_counts"}
    return NextItemModule(
        model=model,
        loss=loss,
        optimizer=configured.optimizer,
        scheduler=configured.scheduler,
        spec=data.spec,
        num_negatives=data.num_negatives,
        cutoffs=config["cutoffs"],
        seed=config["seed"],
        identity=identity_of(config, {**data.identity, **facts}),
        item_ids=data.item_ids,
    )
