"""Fixtures of all tests: configs, models and runs as `run.py` makes them. Shapes in all signatures are checked."""

import locale
import logging
import os
import runpy
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from jaxtyping import install_import_hook
from omegaconf import DictConfig, OmegaConf
from torch.utils._python_dispatch import TorchDispatchMode

# Sums depend on the number of threads in their last bit, and tests compare runs of several processes to that bit.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
install_import_hook(["adamct", "datamodules"], "beartype.beartype")
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # hundreds of configs are composed

CONF = Path(__file__).parents[1] / "conf"
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
SPARSE = ("vsknn", "markov")
"""The models that give scores themselves, from sparse counts on the CPU."""
UNTRAINED = (*SPARSE, "popularity")
"""The models that have nothing to train."""
SIZES = {"hidden_size": 16, "num_heads": 2}
"""The sizes of test models. A model takes the keys that its YAML has."""


@cache
def composed(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()  # a run in this process leaves its state
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


@pytest.fixture(scope="session")
def configure() -> Callable[..., DictConfig]:
    """Return ``configure("model=sasrec", ...)``, which makes a config that a test may change."""
    return lambda *overrides: deepcopy(composed(*overrides))


def changed(cfg: DictConfig, *overrides: str) -> dict[str, Any]:
    """Return a config with overrides of single keys, as `run.py` checks it. To compose it again would take longer."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True, force_add=override.is_add())
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))


@pytest.fixture(scope="session")
def build(configure: Callable[..., DictConfig]) -> Callable[..., Any]:
    """Return ``build(spec, "model=sasrec", dropout=0.0)``, which builds a small model with some keys changed."""

    def build(spec: tuple, *overrides: str, **keys: object) -> Any:
        cfg = configure(*overrides)
        for key, value in ({key: size for key, size in SIZES.items() if key in cfg.model} | keys).items():
            OmegaConf.update(cfg.model, key, value)
        return instantiate(cfg.model, _partial_=True)(spec)

    return build


@pytest.fixture(scope="session")
def histories() -> Callable[..., Any]:
    """Return ``histories(lengths, width, num_items)``, which makes a batch of random right-padded histories.

    Some times of a history are equal, and the others are up to two years apart.
    """
    from adamct.batch import Batch

    def histories(lengths: Sequence[int], width: int, num_items: int) -> Batch:
        generator = torch.Generator().manual_seed(0)
        items = torch.randint(1, num_items + 1, (len(lengths), 64), generator=generator)[:, :width]
        seq_len = torch.tensor(lengths)
        item_seq = items.masked_fill(torch.arange(width) >= seq_len[:, None], 0)
        target = torch.randperm(num_items, generator=generator)[: len(lengths)] + 1
        seconds = torch.rand(len(lengths), 64, generator=generator).mul(18).exp().long() - 1
        times = seconds.cumsum(1)[:, :width].masked_fill(item_seq == 0, 0)
        return Batch(torch.arange(len(lengths)), item_seq, seq_len, target, times)

    return histories


TINY = (
    "dataset.num_users=80",
    "dataset.process.num_items=60",
    "dataset.process.num_tastes=3",
    "dataset.process.num_groups=10",
    "dataset.batch_size=128",
    "dataset.negatives.count=20",
    "model.hidden_size=8",
    "optimizer.lr=0.01",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=3",
    "trainer.enable_progress_bar=false",
    "hydra.callbacks.sweep.report=false",
)
"""The overrides of a run that takes a second."""


class Ended(NamedTuple):
    """The end of a command: its exit code, and the line on stderr if the code is not 0."""

    code: int
    line: str


def give(patch: pytest.MonkeyPatch, *overrides: str) -> Ended:
    """Run `python run.py` with these overrides in this process."""
    GlobalHydra.instance().clear()
    patch.setattr("sys.argv", ["run.py", *overrides])
    handlers = logging.root.handlers[:]
    try:
        with pytest.MonkeyPatch.context() as faster:
            if not any(override.startswith(("sweep=", "hydra.mode=")) for override in overrides):
                # Hydra composes every config twice, the first time only to read hydra.mode.
                faster.setattr(Hydra, "get_mode", lambda *_, **__: None)
            runpy.run_path(str(CONF.parent / "run.py"), run_name="__main__")
    except SystemExit as exit:
        return Ended(1, exit.code) if isinstance(exit.code, str) else Ended(exit.code or 0, "")
    finally:
        logging.root.handlers[:] = handlers  # those of the run write to this test's captured output
    return Ended(0, "")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Ended]:
    """Return ``run("dataset=toys", ...)``, which is `python run.py` with these overrides in this process."""
    if Path.cwd().samefile(CONF.parent):
        monkeypatch.chdir(tmp_path)  # runs without a folder of their own write to the current one
    return partial(give, monkeypatch)


def run_module(name: str) -> None:
    """Run a module as `python -m` does. Its bytecode is not cached: it has the type checks of the hook above."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.dont_write_bytecode", True)
        runpy.run_module(name, run_name="__main__")


@pytest.fixture
def ascii_locale() -> Iterator[None]:
    """Give this process the locale C, in which a file without an encoding is ASCII unless Python is in UTF-8 mode."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make figures without saving them, because saving takes longest."""
    monkeypatch.setattr("adamct.report.outputs.drawing.saved", lambda figure, kind: b"<svg></svg>")


class Reported:
    """A run of Weights & Biases, and the values that it received."""

    def __init__(self, run: Any):
        self.run = run
        self.logged: dict[str, list[Any]] = defaultdict(list)
        """All values of each key, in order."""
        self.exit_codes: list[int | None] = []
        """The exit code of each call that finished it."""


@pytest.fixture
def wandb_runs(monkeypatch: pytest.MonkeyPatch) -> list[Reported]:
    """Record the runs of Weights & Biases that a test starts, at its public interface."""
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    reported: list[Reported] = []
    wandb_run, start = wandb.Run, wandb.init
    log, finish, leave = wandb_run.log, wandb_run.finish, wandb_run.__exit__

    def of(run: Any) -> Reported:
        return next(record for record in reported if record.run is run)

    def recorded_init(*args: Any, **settings: Any) -> Any:
        reported.append(Reported(start(*args, **settings)))
        return reported[-1].run

    def recorded_log(run: Any, data: dict[str, Any], *args: Any, **options: Any) -> None:
        for key, value in data.items():
            of(run).logged[key].append(value)
        log(run, data, *args, **options)

    def recorded_finish(run: Any, exit_code: int | None = None) -> None:
        of(run).exit_codes.append(exit_code)
        finish(run, exit_code)

    def recorded_exit(run: Any, *error: Any) -> None:
        of(run).exit_codes.append(int(error[0] is not None))
        leave(run, *error)

    monkeypatch.setattr(wandb, "init", recorded_init)
    monkeypatch.setattr(wandb_run, "log", recorded_log)
    monkeypatch.setattr(wandb_run, "finish", recorded_finish)
    monkeypatch.setattr(wandb_run, "__exit__", recorded_exit)
    return reported


class Largest(TorchDispatchMode):
    """A mode that measures the largest tensor that is made in it, in bytes, except views of ``excluded`` tensors."""

    def __init__(self, *excluded: torch.Tensor):
        super().__init__()
        self.excluded = {tensor.untyped_storage().data_ptr() for tensor in excluded}
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **kwargs or {})
        for tensor in output if isinstance(output, tuple | list) else (output,):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self.excluded:
                self.bytes = max(self.bytes, tensor.nbytes)
        return output
