"""Compose the config, build data, model and trainer from it, run the stages. `python run.py --help` shows the keys."""

import os
import sys
from pathlib import Path
from typing import Any, NoReturn, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from adamct.errors import blame, explain

FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float | None:
    """One run; its best validation score is what a sweep optimises."""
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        return experiment(cfg, quiet=in_sweep)
    except Exception as error:
        if in_sweep:  # the sweep goes on, and Hydra raises this at its end
            raise
        exit_with(error)
    finally:
        finish_wandb(failed=sys.exc_info()[0] is not None)


def experiment(cfg: DictConfig, quiet: bool) -> float:
    """Where the config ends: everything below takes typed arguments."""
    # torch takes seconds to import, and --help and --cfg do without it.
    import pytorch_lightning as pl

    from adamct.experiment import build_trainer, run_stages
    from adamct.module import NextItemModule
    from adamct.results import announce, earlier_results, record

    folder = Path(cfg.output_dir)
    with blame("seed"):
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
    config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    if cfg.resume == "auto" and (results := earlier_results(folder, config)):
        print(f"finished before: {folder / 'results.json'}")
        return results["metrics"][cfg.monitor]
    (folder / "config.yaml").write_text(self_contained(cfg))

    data = instantiate(cfg.dataset)
    announce(data.statistics)
    make_model = instantiate(cfg.model, _partial_=True)
    with blame("model"):
        model = make_model(data.spec)
    data.full_length, data.all_positions = model.full_length, model.all_positions
    sizes = {name: value for name, value in data.spec._asdict().items() if isinstance(value, int)}
    module = NextItemModule(
        model,
        instantiate(cfg.optimizer),
        instantiate(cfg.scheduler),
        data.spec.num_users,
        data.negatives.count,
        config["cutoffs"],
        cfg.seed,
        identity={"model": config["model"], "dataset": {"sha256": data.fingerprint, **sizes}},
    )
    checkpoints = folder / "checkpoints"
    trainer = build_trainer(
        instantiate(cfg.trainer, _partial_=True),
        instantiate(cfg.logger),
        checkpoints,
        data.spec.num_users,
        cfg.monitor,
        cfg.patience,
        cfg.save_every_n_steps,
        config["stages"],
        quiet,
    )
    for logger in trainer.loggers:
        logger.log_hyperparams({**config, "statistics": data.statistics._asdict()})
    checkpoint = run_stages(trainer, module, data, checkpoints, config["stages"], cfg.ckpt, cfg.resume)
    if "test" in cfg.stages:
        record(folder, trainer, module, data, checkpoint, config, list(HydraConfig.get().overrides.task))
    return checkpoint["val_scores"][cfg.monitor]


def self_contained(cfg: DictConfig) -> str:
    """The config as YAML that composes to itself: names of chosen groups stand in place of their interpolations."""
    text = OmegaConf.to_yaml(cfg)
    for group, choice in HydraConfig.get().runtime.choices.items():
        text = text.replace(f"${{hydra:runtime.choices.{group}}}", str(choice))
    return text


def finish_wandb(failed: bool) -> None:
    """Close this run's W&B run, if it has one: the next job of a sweep would go on with it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=int(failed))


def exit_with(error: Exception) -> NoReturn:
    """One line for a user's mistake; a bug of ours, or all where HYDRA_FULL_ERROR is set, keeps its traceback."""
    line = explain(error)
    if line is None or FULL_ERROR:
        raise error
    sys.exit(f"error: {line}")


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its own complaints instead of printing them
    try:
        main()  # pyright: ignore[reportCallIssue]  # Hydra passes the config
    except Exception as error:
        exit_with(error)
