"""The checks of a command that need neither data nor torch, before a run imports or builds anything."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adamct.errors import InputError, require
from adamct.evaluation.names import metric_names, names_of_rankings
from adamct.values import as_yaml


def require_feasible(config: Mapping[str, Any]) -> None:
    """Refuse stages that have no weights to start from, and a monitor that no validation has.

    Args:
        config: the whole config, whose top-level keys have values that they can have.

    Raises:
        InputError: names each key.
    """
    if wrong := [*without_start(config), *without_monitor(config)]:
        raise InputError("; ".join(wrong))


def without_start(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield an error message for each checkpoint that a run lacks, or has too much."""
    stages, ckpt = config["stages"], config["ckpt"]
    if "fit" in stages and ckpt is not None:
        yield f"ckpt={as_yaml(ckpt)}: must be null with fit in stages; give resume=PATH to continue a run"
    if "fit" not in stages and ckpt is None:
        yield f"stages={as_yaml(stages)} needs the weights to use: ckpt=PATH"
    for key in ("ckpt", "resume"):
        if config[key] not in (None, "auto") and not Path(config[key]).exists():
            yield f"{key}={as_yaml(config[key])}: no such checkpoint"


def without_monitor(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield an error message if no validation has the monitor; nothing if the dataset names its ranking otherwise."""
    count = (config["dataset"].get("negatives") or {}).get("count")
    if isinstance(count, int):
        names = metric_names("val", names_of_rankings(count), config["cutoffs"])
        if config["monitor"] not in names:
            yield f"monitor={config['monitor']}: must be one of {', '.join(names)}"


def require_no_sweep(choices: Mapping[Any, Any], preview: bool) -> None:
    """Refuse the options of a sweep in a command that runs one job.

    Args:
        choices: the choice of each config group.
        preview: whether the command asks for a preview.

    Raises:
        InputError: names the option.
    """
    for group in ("hydra/sweeper", "hydra/launcher"):
        require(choices[group] == "basic", f"{group}={choices[group]} is for the jobs of a sweep: add -m")
    require(not preview, "preview=true lists the jobs of a sweep: add -m")
