"""Runs in this process that are killed or interrupted at the start of a step."""

import signal
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytorch_lightning as pl


class Killed(BaseException):
    """The end of a run as by a kill. It is not an Exception, so nothing handles it."""


class Cut(pl.Callback):
    """Calls a function once, at the start of one step. It is in the config of every run that a test cuts off."""

    step: int | None = None
    """The step; None for no call."""
    action: ClassVar[list[Callable[[], object]]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        if trainer.global_step == Cut.step:
            Cut.step = None
            Cut.action[-1]()


CUT = f"+callbacks.cut={{_target_: {__name__}.Cut}}"
"""The override that adds the callback."""


def kill_at(step: int) -> None:
    """Kill the next run at a step."""

    def kill() -> None:
        raise Killed

    Cut.step, Cut.action[:] = step, [kill]


def interrupt_at(step: int, number: int = signal.SIGINT) -> None:
    """Send the next run a signal at a step."""
    Cut.step, Cut.action[:] = step, [partial(signal.raise_signal, number)]
