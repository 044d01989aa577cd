"""Compose the config, build data, model and trainer from it, run the stages. `python run.py --help` shows the keys."""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float | None:
    """One run; its best validation score is what a sweep optimises."""
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    from adamct.errors import explain

    try:
        return experiment(cfg, quiet=in_sweep)
    except Exception as error:
        line = explain(error)
        if line is None or in_sweep:
            raise
        sys.exit(f"error: {line}")


def experiment(cfg: DictConfig, quiet: bool) -> float:
    """Where the config ends: everything below takes typed arguments."""
    # torch takes seconds to import, and --help and --cfg do without it.
    import pytorch_lightning as pl

    from adamct.experiment import build_trainer, run_stages
    from adamct.module import NextItemModule
    from adamct.results import announce, record

    folder = Path(cfg.output_dir)
    OmegaConf.save(cfg, folder / "config.yaml")
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)

    data = instantiate(cfg.dataset)
    announce(data.statistics)
    model = instantiate(cfg.model, _partial_=True)(data.spec)
    data.full_length = model.full_length
    module = NextItemModule(
        model,
        instantiate(cfg.optimizer),
        instantiate(cfg.scheduler),
        data.spec.num_users,
        data.negatives.count,
        config["cutoffs"],
        cfg.seed,
        identity={"model": config["model"], "dataset": {"sha256": data.fingerprint(), **data.spec._asdict()}},
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
        quiet,
    )
    for logger in trainer.loggers:
        logger.log_hyperparams({**config, "statistics": data.statistics._asdict()})
    checkpoint = run_stages(trainer, module, data, checkpoints, config["stages"], cfg.ckpt, cfg.resume)
    if "test" in cfg.stages:
        record(folder, trainer, module, data, checkpoint, config, list(HydraConfig.get().overrides.task))
    return checkpoint["val_scores"][cfg.monitor]


if __name__ == "__main__":
    main()
