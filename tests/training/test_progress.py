"""The line of each epoch, the time left, and the progress bar."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from rich.console import Console
from rich.progress import Progress as RichProgress

from adamct.training.callbacks import Timing
from adamct.training.progress import Progress, left_text, scores_text, seconds_left
from adamct.training.selection import Patience
from tests.conftest import TINY, Ended

RANKINGS = [f"val/{ranking}/ndcg@10" for ranking in ("uni100", "full", "full_unseen")]


def validated(*scores: float | None) -> dict[str, float | None]:
    return dict(zip(RANKINGS, scores, strict=True))


def test_a_line_has_each_score_and_the_best_if_it_is_another() -> None:
    patience = Patience(RANKINGS[:2], 5)
    assert scores_text(RANKINGS, {}, patience) == ""
    patience.note({RANKINGS[0]: 0.5, RANKINGS[1]: 0.1}, 0)
    patience.note({RANKINGS[0]: 0.4, RANKINGS[1]: 0.2}, 1)
    text = "uni100 0.4000 (best 0.5000 in epoch 1), full 0.2000 (best), full_unseen 0.3000"
    assert scores_text(RANKINGS, validated(0.4, 0.2, 0.3), patience) == text
    text = "uni100 (best 0.5000 in epoch 1), full (best 0.2000 in epoch 2)"
    assert scores_text(RANKINGS, validated(None, None, None), patience) == text


def test_time_left_is_to_the_last_epoch_or_to_the_end_of_patience() -> None:
    timing = Timing()
    timing.train_seconds, timing.validation_seconds = [8.0, 8.0, 8.0, 8.0], [4.0, 4.0]  # 10 s an epoch, 20 a validation
    assert seconds_left(4, 100, 3, timing) == (960.0, 60.0)
    assert seconds_left(4, -1, 3, timing) == (None, 60.0)
    timing.validation_seconds = []
    assert seconds_left(4, 5, 3, timing) == (8.0, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ((960.0, 60.0), "at most 16 min 0 s left, 1 min 0 s if no score improves"),
        ((20.0, 60.0), "at most 20 s left"),
        ((None, 60.0), "1 min 0 s left if no score improves"),
        ((None, None), ""),
    ],
)
def test_time_left_in_words(seconds: tuple[float | None, float | None], text: str) -> None:
    assert left_text(*seconds) == text


def test_the_bar_is_one_line_of_80_columns() -> None:
    bar = Progress("val/full_unseen/ndcg@10")
    bar.shown = "loss 5.1266  best full_unseen ndcg@10 0.5305"
    bar._trainer = pl.Trainer(max_epochs=300, accelerator="cpu", logger=False, enable_checkpointing=False)
    console = Console(width=80, force_terminal=True, color_system=None, record=True, file=io.StringIO())
    progress = RichProgress(*bar.configure_columns(bar.trainer), console=console)
    bar.train_progress_bar_id = progress.add_task(bar._get_train_description(99), total=1234, completed=617)
    console.print(progress)
    line = console.export_text()
    assert re.fullmatch(rf"Epoch 100/300 \S+ +617/1234 -:--:-- {bar.shown} *\n", line)


def test_the_bar_has_the_newest_best_score(
    run: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, dict[str, float]]] = []
    update = Progress.on_validation_end

    def on_validation_end(bar: Progress, trainer: Any, module: Any) -> None:
        update(bar, trainer, module)
        shown.append((bar.shown, dict(next(c for c in trainer.callbacks if isinstance(c, Patience)).best)))

    monkeypatch.setattr(Progress, "on_validation_end", on_validation_end)
    monkeypatch.setattr("adamct.training.trainer.is_live", lambda: True)
    short = (
        "stages=[fit]",
        "trainer.max_epochs=2",
        "trainer.limit_train_batches=2",
        "trainer.enable_progress_bar=true",
    )
    assert not run(*TINY, *short, f"hydra.run.dir={tmp_path}").code
    assert len(shown) == 2
    for text, best in shown:
        assert text.endswith(f"best uni20 ndcg@10 {best['val/uni20/ndcg@10']:.4f}")
        assert text.startswith("loss ")
