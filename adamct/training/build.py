"""A model and its loss, built from a config for a dataset, in their LightningModule."""

from collections.abc import Callable
from functools import partial
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from adamct.batch import DataSpec
from adamct.dataset import Dataset
from adamct.errors import naming_key
from adamct.identity import identity_of
from adamct.models.base import NextItemModel
from adamct.runs.config import resolved
from adamct.training.module import NextItemModule
from adamct.training.step import compiled, training_loss


def build_module(cfg: DictConfig, data: Dataset) -> NextItemModule:
    """Build the configured model and loss for a dataset, and adapt the dataset's batches to the model.

    Args:
        cfg: the run's config.
        data: the dataset.

    Raises:
        InputError: the model or the loss refuses its values.
    """
    config = resolved(cfg)
    make_objective = instantiate(cfg.loss, _partial_=True)
    with naming_key("model"):
        model = model_constructor(cfg.model)(data.spec)
    with naming_key("loss"):
        loss = partial(training_loss, objective=make_objective(data.spec))
    if cfg.compile is not None:
        loss = compiled(loss, cfg.compile, model, num_widths=-(-data.spec.max_len // cfg.compile_widths))
    width_multiple = 1 if cfg.compile is None else cfg.compile_widths
    data.adapt_batches(model.batch_needs(width_multiple))
    facts = {name: value for name, value in data.spec._asdict().items() if isinstance(value, int)}
    return NextItemModule(
        model=model,
        loss=loss,
        optimizer=instantiate(cfg.optimizer),
        scheduler=instantiate(cfg.scheduler),
        spec=data.spec,
        num_negatives=data.num_negatives,
        cutoffs=config["cutoffs"],
        seed=cfg.seed,
        identity=identity_of(config, {**data.identity, **facts}),
        item_ids=data.item_ids,
    )


def model_constructor(node: DictConfig | dict[str, Any]) -> Callable[[DataSpec], NextItemModel]:
    """Return the constructor of a configured model."""
    return instantiate(node, _partial_=True, _convert_="all")  # plain dicts and lists, as in a checkpoint
