"""A checkpoint alone scores as the module that was trained."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

import adamct
from adamct.batch import Batch, EvaluationBatch
from adamct.training.module import NextItemModule
from tests.conftest import MODELS, TINY, UNTRAINED, Ended
from tests.models.oracles import scores

QUICK = ("adamct_paper", "hgn")


class ScoresOfTest(pl.Callback):
    """Keeps the test histories of the last run in this process, and the scores of the module that the run tested."""

    batches: list[tuple[Batch, Tensor]]

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        type(self).batches = []

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: EvaluationBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        model = cast(NextItemModule, pl_module).model
        self.batches.append((batch.histories, scores(model, batch.histories)))


@pytest.mark.parametrize("model", [pytest.param(m, marks=[pytest.mark.slow] * (m not in QUICK)) for m in MODELS])
def test_a_loaded_checkpoint_scores_as_the_module(model: str, tmp_path: Path, run: Callable[..., Ended]) -> None:
    overrides = [override for override in TINY if model not in UNTRAINED or not override.startswith("model.")]
    callback = f"+callbacks.scores={{_target_: {__name__}.ScoresOfTest}}"
    command = (
        *overrides,
        f"model={model}",
        "select_per_ranking=false",
        callback,
        "trainer.max_epochs=2",
        f"hydra.run.dir={tmp_path}",
    )
    assert run(*command) == Ended(0, "")
    loaded = adamct.load(tmp_path / "checkpoints" / "best.ckpt").model
    assert ScoresOfTest.batches
    for histories, expected in ScoresOfTest.batches:
        with torch.no_grad():
            loaded_scores = scores(loaded, histories)
        torch.testing.assert_close(loaded_scores, expected, rtol=0, atol=1e-6 * expected.abs().max().item())
