"""Run an experiment: build what its config names, run the stages, record them. See `python run.py --help`."""

import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from adamct.runs.config import description, name_of_dataset, names_folder, resolved
from adamct.runs.folder import CHECKPOINTS, RESULTS, RunFolder, finished_before
from adamct.runs.job import run_command, run_job
from adamct.runs.processes import is_first, processes_here, require_one_folder
from adamct.runs.schema import check
from adamct.runs.threads import THREADS, Threads, let_threads_sleep, threads_of_run

if TYPE_CHECKING:
    from polars import Series

    from adamct.batch import People
    from adamct.training.module import NextItemModule

log = logging.getLogger("adamct.run")
SCRIPT = Path(__file__).resolve()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float | str | None:
    """Run one job, and return its best validation score, which a sweep optimises."""
    return run_job(cfg, experiment, SCRIPT)


def experiment(cfg: DictConfig, folder: RunFolder) -> float:
    """Check a config, lock the run's folder, and compute the run unless it has finished there before."""
    from datamodules.sources import require_readable

    for name, text in description(cfg).items():
        folder.describe(name, text)
    config = resolved(cfg)
    require_readable(cfg.dataset.get("path"))
    check(config)
    require_one_folder(cfg.trainer.num_nodes, names_folder())
    if (score := earlier_score(cfg, config, folder.path)) is not None:
        return score
    with folder:
        if (score := earlier_score(cfg, config, folder.path)) is not None:  # from a process that has just ended
            return score
        let_threads_sleep()
        processes = processes_here(cfg.trainer.devices)
        with threads_of_run(cfg.threads, processes, folder.path, cfg.resume) as threads:
            folder.describe(THREADS, f"{threads.number}\n")
            return compute(cfg, config, folder, threads)


def earlier_score(cfg: DictConfig, config: dict[str, Any], folder: Path) -> float | None:
    """Return the score of a finished run of the same config and data in a folder, None if there is none."""
    from datamodules.sources import is_unchanged

    results = finished_before(folder, config) if cfg.resume == "auto" else None
    if results is None or not is_unchanged(cfg.dataset.get("path"), results["dataset"]["source_sha256"]):
        return None
    log.info("finished before: %s", folder / RESULTS)
    return results["metrics"][cfg.monitor]


def compute(cfg: DictConfig, config: dict[str, Any], folder: RunFolder, threads: Threads) -> float:
    """Build data, module and trainer, run the stages and record them. Return the best validation score."""
    # These imports take seconds. --help, --cfg and finished runs do not need them.
    from adamct.training.build import build_module
    from adamct.training.record import record
    from adamct.training.stages import Plan, run_stages
    from adamct.training.tables import show_start
    from adamct.training.trainer import configured_trainer, set_up_torch

    set_up_torch(cfg.seed, cfg.matmul_precision)
    data = instantiate(cfg.dataset)
    facts = {"statistics": data.statistics._asdict(), "held_out": data.held_out._asdict()}  # this reads the data
    module = build_module(cfg, data)
    audience = audience_of(cfg, module, data) if "predict" in config["stages"] else None
    folder.claim(module.identity, config["stages"])
    plan = Plan.of(config, module, folder.path / CHECKPOINTS)
    with configured_trainer(cfg, plan, data.spec.num_users, folder.path) as trainer:

        def begin(start: str) -> None:
            folder.begin()
            further = {"threads": str(threads), "folder": str(folder.path), "start": start}
            show_start(name_of_dataset(cfg), trainer, module, data, further)
            for logger in trainer.loggers:
                logger.log_hyperparams(config | facts)

        outcome = run_stages(trainer, module, data, plan, begin)
        if audience is not None and trainer.is_global_zero:
            log.info("recommendations: %s", recommend(cfg, module, data, audience, folder.path))
        if plan.stages != ["predict"]:
            folder.own()
            record(folder.path, trainer, module, data, outcome, config)
    return outcome.chosen[0].val_scores[cfg.monitor]


def audience_of(cfg: DictConfig, module: "NextItemModule", data: Any) -> tuple["People", "Series | None"]:
    """Read the people to recommend to, and the items' titles if there are any, so that mistakes end the run early."""
    from datamodules.people import people_of
    from datamodules.titles import read_titles

    keys, interactions = cfg.predict, data.interactions
    with redirect_stdout(sys.stdout if is_first() else None):
        people = people_of(
            interactions,
            has_times=data.spec.has_times,
            users=keys.users,
            histories=keys.histories,
            columns=instantiate(keys.columns),
            only_users=module.model.uses_user_embedding,
        )
    return people, None if keys.titles is None else read_titles(Path(keys.titles), interactions.item_ids)


def recommend(
    cfg: DictConfig, module: "NextItemModule", data: Any, audience: tuple["People", "Series | None"], folder: Path
) -> Path:
    """Write the model's recommendations for some people, with the items' titles if there are any."""
    from adamct.errors import naming_key
    from adamct.serving.predictions import write_recommendations
    from adamct.serving.recommender import Recommender

    keys, (people, titles) = cfg.predict, audience
    with naming_key("predict"):
        return write_recommendations(
            Recommender(module.model, module.item_ids, data.max_len),
            people,
            folder,
            file_format=keys.format,
            k=keys.k,
            unseen=keys.unseen,
            batch_size=cfg.dataset.eval_batch_size,
            titles=titles,
        )


if __name__ == "__main__":
    run_command(main, SCRIPT.parent / "conf")
