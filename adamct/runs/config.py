"""The config of a run: resolved, as files that describe the run, and from a command line."""

from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from adamct.runs.schema import may_be_empty


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Return a config as plain dicts and lists, with its interpolations resolved.

    Raises:
        MissingMandatoryValue: a key has no value.
    """
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))


def description(cfg: DictConfig) -> dict[str, str]:
    """Return the files that describe a run, by name: its config, and those that Hydra would write too early."""
    job = HydraConfig.get()
    hydra_files = {"config": cfg, "hydra": OmegaConf.create({"hydra": job}), "overrides": job.overrides.task}
    return {"config.yaml": self_contained(cfg)} | {
        f".hydra/{name}.yaml": OmegaConf.to_yaml(node) for name, node in hydra_files.items()
    }


def self_contained(cfg: DictConfig) -> str:
    """Return a config as YAML that composes to itself: the names of group choices replace their interpolations."""
    text = OmegaConf.to_yaml(cfg)
    for group, choice in HydraConfig.get().runtime.choices.items():
        text = text.replace(f"${{hydra:runtime.choices.{group}}}", str(choice))
    return text


def start_of_run() -> dict[str, Any]:
    """Return the overrides and the group choices that a run was started with, for its record."""
    job = HydraConfig.get()
    return {
        "overrides": OmegaConf.to_container(job.overrides.task, resolve=False),
        "choices": dict(job.runtime.choices),
    }


def name_of_dataset(cfg: DictConfig) -> str:
    """Return the name of a run's dataset: ``dataset.name``, or the choice of the group ``dataset``."""
    name = cfg.dataset.get("name") or HydraConfig.get().runtime.choices.get("dataset")
    return str(name or cfg.dataset["_target_"].rpartition(".")[2])


def names_folder() -> bool:
    """Return whether the command names the run's folder."""
    return any(override.partition("=")[0] == "hydra.run.dir" for override in HydraConfig.get().overrides.hydra)


def without_null(arguments: list[str], groups: Path) -> list[str]:
    """Return a command's arguments with ~GROUP in place of GROUP=null, which Hydra refuses, if the group may be empty.

    Args:
        arguments: the command's arguments.
        groups: the folder of the config groups.
    """
    names = [argument.removesuffix("=null") for argument in arguments if argument.endswith("=null")]
    replaced = {f"{name}=null": f"~{name}" for name in names if may_be_empty(name) and (groups / name).is_dir()}
    return [replaced.get(argument, argument) for argument in arguments]
