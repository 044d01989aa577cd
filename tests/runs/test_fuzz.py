"""Odd values for every key of the config: each works or is an error of one line."""

import random
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adamct.errors import InputError, explain
from adamct.keys import flat
from adamct.runs.schema import check
from tests.conftest import CONF, Ended, changed

Configure = Callable[..., DictConfig]
Run = Callable[..., Ended]
Pair = tuple[tuple[str, ...], str, str]
"""Overrides, a key of their config, and a value for the key."""

VALUES = (
    *("null", "''", "abc", "'äöü'", "/nonexistent/path", "2014-01-01", "true", "no", "off"),
    *("-1", "0", "1", "2", "1.5", "0.5", "-0.5", "1e3", "1e400", "nan", "999999999999", "1000000000000000000000"),
    *("[]", "[1,2]", "[abc]", "{}", "{a: 1}"),
)
SHORT = (
    *("dataset.batch_size=128", "dataset.negatives.count=5", "trainer.accelerator=cpu", "trainer.max_epochs=1"),
    *("trainer.max_time='00:00:00:03'", "trainer.enable_progress_bar=false", "threads=1"),
)
SYNTHETIC = (
    *("dataset=synthetic", "dataset.num_users=80", "dataset.process.num_items=60", "dataset.process.num_tastes=3"),
    "dataset.process.num_groups=10",
)
LOG = ("dataset.path=log.csv", "dataset.min_user=3", "dataset.min_item=1")
BY_TIME = ("dataset/split=global_time", "dataset.split.validation_from=60%", "dataset.split.test_from=80%")
IN_SEVERAL_PROCESSES = {("trainer.devices", "2"), ("trainer.num_nodes", "2")}
"""Pairs of a key and a value that other tests have."""
GROUPS = ("model", "loss", "optimizer", "scheduler", "callbacks")
CONFIGS = (
    SYNTHETIC,
    *((*SYNTHETIC, f"{group}={path.stem}") for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))),
    (*SYNTHETIC, "logger=[csv,tensorboard]"),
    (*SYNTHETIC, "logger=wandb", "logger.wandb.mode=disabled"),
    (*SYNTHETIC, "model/mixture=fixed", "model/gate@model.parts.local_gate=softmax"),
    ("dataset=custom", *LOG),
    ("dataset=custom", *LOG, *BY_TIME),
    ("dataset=beauty", *LOG, "dataset.expect=null"),
    ("dataset=amazon", *LOG, "dataset.category=Books"),
)
"""Configs that together have every key."""
NODES = (
    *("trainer", "dataset", "model", "loss", "optimizer", "scheduler", "logger", "callbacks", "predict", "recipe"),
    "sweep",
)


@contextmanager
def seconds(most: int) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer than some seconds."""

    def end(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, end)
    signal.alarm(most)
    try:
        yield
    finally:
        signal.alarm(0)


def pairs(configure: Configure, configs: Sequence[tuple[str, ...]]) -> list[Pair]:
    """Return every key, once for each ``_target_`` that accepts it, with every value."""
    overrides_of: dict[tuple[str, str], tuple[str, ...]] = {}
    for overrides in configs:
        config = cast(dict[str, Any], OmegaConf.to_container(configure(*overrides, *SHORT)))
        targets = flat(config)
        for key in targets:
            if not key.endswith("_") and "mirrors" not in key:  # overrides cannot name its keys, which are numbers
                target = targets.get(f"{key.rpartition('.')[0]}._target_")
                overrides_of.setdefault((key, str(target)), overrides)
    keys = [(overrides, key) for (key, _), overrides in overrides_of.items()]
    return [(*pair, value) for pair in keys for value in VALUES if (pair[1], value) not in IN_SEVERAL_PROCESSES]


def refused(pair: Pair, configure: Configure) -> bool:
    """Return whether the check or OmegaConf refuses a value with an error of one line."""
    overrides, key, text = pair
    cfg = configure(*overrides, *SHORT, "output_dir=out")
    if "wandb" in str(overrides):
        cfg.logger.wandb.update({"job_type": "job", "tags": []})  # which need a run
    try:
        check(changed(cfg, f"{key}={text}"))
    except (InputError, OmegaConfBaseException) as error:
        return "\n" not in (explain(error) or "\n")
    return False


def outcome(pair: Pair, run: Run, folder: Path) -> str:
    """Return how a run ends: ``works``, ``one line``, ``time``, or the error that it raises."""
    overrides, key, text = pair
    places = (f"hydra.run.dir={folder}/run", *([] if key == "data_dir" else [f"data_dir={folder}/data"]))
    try:
        with seconds(60):
            ended = run(*overrides, *SHORT, f"{key}={text}", *places)
    except TimeoutError:
        return "time"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    assert "\n" not in ended.line
    return "one line" if ended.code else "works"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a small log into the working directory, and disable tracking."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    draw = random.Random(0)
    rows = [
        f"u{user},i{item},{10 * place + user},{draw.randint(1, 5)}"
        for user in range(40)
        for place, item in enumerate(draw.sample(range(30), 10))
    ]
    Path("log.csv").write_text("\n".join(["user,item,timestamp,rating", *rows]))


@pytest.mark.slow
@pytest.mark.usefixtures("log")
def test_some_odd_values_work_or_are_errors_of_one_line(configure: Configure, run: Run, tmp_path: Path) -> None:
    sample = random.Random(1).sample(pairs(configure, (SYNTHETIC, CONFIGS[-1])), 60)
    passed = [pair for pair in sample if not refused(pair, configure)]
    assert 0 < len(passed) < 40
    for pair in passed[:1]:
        assert outcome(pair, run, tmp_path / "run") in ("works", "one line"), pair


@pytest.mark.slow
@pytest.mark.usefixtures("log")
def test_every_odd_value_works_or_is_an_error_of_one_line(configure: Configure, run: Run, tmp_path: Path) -> None:
    resource.setrlimit(
        resource.RLIMIT_AS, (16 << 30, resource.getrlimit(resource.RLIMIT_AS)[1])
    )  # so that memory does not fill
    counts, failed = Counter[str](), []
    node_pairs = [(SYNTHETIC, node, value) for node in NODES for value in VALUES]
    for number, pair in enumerate([*node_pairs, *pairs(configure, CONFIGS)]):
        decided = pair not in node_pairs and refused(pair, configure)  # only Hydra can check the choice of a group
        end = "refused" if decided else outcome(pair, run, tmp_path / str(number))
        counts[end if end in ("refused", "one line", "works", "time") else "traceback"] += 1
        if end not in ("refused", "one line", "works"):
            failed.append((pair, end))
    print(dict(counts))
    assert not failed, failed
