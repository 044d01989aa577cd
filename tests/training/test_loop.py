"""Training by the Trainer against a loop written by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from adamct.losses.cross_entropy import cross_entropy
from adamct.models.base import VectorModel
from adamct.randomness import Stream, seed_libraries, seed_torch
from adamct.training.checkpoints import LAST
from tests.conftest import TINY, Ended


def train_by_hand(cfg: DictConfig) -> VectorModel:
    """Train the model of a config on the CPU."""
    seed_libraries(cfg.seed)
    data = instantiate(cfg.dataset)
    model = instantiate(cfg.model, _partial_=True)(data.spec)
    optimizer = instantiate(cfg.optimizer)(model.parameters())
    scheduler = instantiate(cfg.scheduler)(optimizer)
    data.adapt_batches(model.batch_needs())
    batches = data.train_dataloader()
    for epoch in range(cfg.trainer.max_epochs):
        batches.set_epoch(epoch)
        for step, batch in enumerate(batches):
            seed_torch(torch.device("cpu"), cfg.seed, Stream.TRAINING_STEP, epoch, step, 0)
            optimizer.zero_grad()
            queries, targets = model.training_pairs(batch)
            loss = cross_entropy(queries, model.item_table(), model.item_bias(), targets) + model.penalty(batch)
            loss.backward()
            optimizer.step()
        scheduler.step()
    return model


@pytest.mark.parametrize(
    "model",
    [
        ("model=adamct", "model.dropout=0.3", "optimizer.weight_decay=0.01"),
        ("model=bert4rec",),  # draws which items it masks
        pytest.param(("model=sasrec", "model.all_positions=true"), marks=pytest.mark.slow),
        pytest.param(("model=sine", "model.penalty_weight=10.0"), marks=pytest.mark.slow),
    ],
    ids=lambda overrides: overrides[0],
)
def test_the_trainer_trains_as_a_plain_loop(
    model: tuple[str, ...], tmp_path: Path, run: Callable[..., Ended], configure: Callable[..., DictConfig]
) -> None:
    overrides = (*TINY, *model, "scheduler=linear_decay", "trainer.max_epochs=2")
    assert run(*overrides, "stages=[fit]", f"hydra.run.dir={tmp_path}") == Ended(0, "")
    checkpoint = torch.load(tmp_path / "checkpoints" / LAST, weights_only=True)["state_dict"]
    weights = train_by_hand(configure(*overrides)).state_dict()
    assert [name for name, value in weights.items() if not checkpoint[f"model.{name}"].equal(value)] == []
