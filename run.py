"""Compose the config, build data, model and trainer from it, run the stages. `python run.py --help` shows the keys."""

import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from adamct.errors import InputError, blame, explain, require
from adamct.identity import identity_of
from adamct.runs.folder import CHECKPOINTS, ERROR, RESULTS, RunFolder, finished_before, record_kill
from adamct.runs.processes import PARENT, end_with, how_it_ended, is_first, processes_here, require_one_folder
from adamct.runs.schema import check, may_be_null
from adamct.runs.threads import THREADS, let_threads_sleep, threads_of_run
from adamct.sweeps.callback import STOPPING

if TYPE_CHECKING:
    from adamct.search.pruning import TrialReport
    from adamct.training.module import NextItemModule

RUN = Path(__file__).resolve()
CONF = RUN.parent / "conf"
FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float | None:
    """One run; its best validation score is what a sweep optimises, NaN where it failed, None where it was killed."""
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    others_beside = in_sweep and HydraConfig.get().runtime.choices["hydra/launcher"] != "basic"
    stopping, folder = Path(HydraConfig.get().sweep.dir) / STOPPING, RunFolder(Path(str(cfg.output_dir)))
    if in_sweep and stopping.exists():
        return math.nan
    try:
        if in_sweep and (cfg.trainer.devices != 1 or cfg.trainer.num_nodes != 1):
            return run_by_itself(folder.path, cfg.monitor)
        score = experiment(cfg, folder, quiet=others_beside)
        finish_wandb(failed=False)
    except Exception as error:
        folder.record_failure(error)
        if not in_sweep:
            exit_with(error)
        print(f"failed: {folder.path}: {explain(error) or repr(error)}", file=sys.stderr)
        return math.nan  # the sweep goes on, and tells at its end
    except (KeyboardInterrupt, SystemExit):
        if not others_beside:
            raise
        stopping.touch()  # jobs beside this one save their state as well, which they could not if this one raised
        return math.nan
    finally:
        finish_wandb(failed=True)  # where it is not finished yet
    return score


def run_by_itself(folder: Path, monitor: str) -> float | None:
    """A job of a sweep that trains in several processes, as a run of its own.

    Lightning starts them by giving the command of the run again, which in a sweep would be the sweep's.
    """
    hydra_cfg = HydraConfig.get()
    overrides = cast(dict[str, list[str]], OmegaConf.to_container(hydra_cfg.overrides, resolve=False))
    given = [*overrides["hydra"], *overrides["task"]]
    conf = next(source.path for source in hydra_cfg.runtime.config_sources if source.provider == "main")
    flags = [f"--config-path={conf}", f"--config-name={hydra_cfg.job.config_name}"]
    alone = ["hydra.mode=RUN", f"hydra.run.dir='{folder}'"]
    command = [sys.executable, str(RUN), *flags, *given, *alone]
    process = subprocess.Popen(command, env={**os.environ, PARENT: str(os.getpid())})
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # Ctrl-C reached it too
        raise
    if code < 0:
        record_kill(folder, how_it_ended(code))
        return None
    if code != 0 and (folder / ERROR).exists():
        return math.nan
    require(code == 0, f"{folder}: its processes ended with {code}; the lines above may tell why")
    return json.loads((folder / RESULTS).read_text())["metrics"][monitor]


def experiment(cfg: DictConfig, folder: RunFolder, quiet: bool) -> float:
    """Check a run's config, take its folder and run it; everything below takes typed arguments."""
    for name, text in described(cfg).items():
        folder.describe(name, text)
    config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))
    check(config)
    given = [str(override).partition("=")[0] for override in HydraConfig.get().overrides.hydra]
    require_one_folder(cfg.trainer.num_nodes, "hydra.run.dir" in given)
    if cfg.resume == "auto" and (results := finished_before(folder.path, config)) and same_source(cfg, results):
        print(f"finished before: {folder.path / RESULTS}")
        return results["metrics"][cfg.monitor]
    with folder:
        let_threads_sleep()
        processes = processes_here(cfg.trainer.devices)
        with threads_of_run(cfg.threads, processes, folder.path, cfg.resume) as threads:
            folder.describe(THREADS, f"{threads.number}\n")
            if is_first():
                print(threads)
            return compute(cfg, config, folder, quiet)


def same_source(cfg: DictConfig, results: dict[str, Any]) -> bool:
    """Whether a log of the user's own is still what a finished run read, or is no longer there."""
    from datamodules.sources import sha256

    if cfg.dataset.get("path") is None:
        return True
    try:
        return sha256(Path(cfg.dataset.path)) == results["dataset"]["source_sha256"]
    except InputError:
        return True


def described(cfg: DictConfig) -> dict[str, str]:
    """Return the files that describe a run: its config, and Hydra's own, which Hydra would write too early."""
    job = HydraConfig.get()
    hydra_files = {"config": cfg, "hydra": OmegaConf.create({"hydra": job}), "overrides": job.overrides.task}
    return {"config.yaml": self_contained(cfg)} | {
        f".hydra/{name}.yaml": OmegaConf.to_yaml(node) for name, node in hydra_files.items()
    }


def compute(cfg: DictConfig, config: dict[str, Any], folder: RunFolder, quiet: bool) -> float:
    """Build what the config names, run the stages and record them; return the best validation score."""
    # torch takes seconds to import, and --help, --cfg and what has finished do without it.
    from adamct.batch import BatchNeeds
    from adamct.training.gpus import placed
    from adamct.training.record import announce, record
    from adamct.training.selection import choices
    from adamct.training.trainer import build_trainer, pruned, run_stages, set_up_torch

    set_up_torch(cfg.seed, cfg.matmul_precision)
    data = instantiate(cfg.dataset)
    announce(data.statistics, data.held_out)
    module = build_module(cfg, config, data)
    folder.claim(module.identity, config["stages"])
    width_multiple = 1 if cfg.compile is None else cfg.compile_widths
    data.adapt_batches(BatchNeeds(module.model.full_length, module.model.all_positions, width_multiple))
    checkpoints = folder.path / CHECKPOINTS
    with placed(instantiate(cfg.trainer, _partial_=True)) as make_trainer:
        selected = choices(
            module.rankings, module.metric_names("val"), cfg.monitor, cfg.select_per_ranking and module.learns
        )
        trainer = build_trainer(
            make_trainer,
            instantiate(cfg.logger),
            checkpoints,
            data.spec.num_users,
            selected,
            cfg.patience,
            cfg.save_every_n_steps,
            config["stages"],
            trial_report(cfg.monitor),
            quiet,
        )

        def begin() -> None:
            folder.begin()
            for logger in trainer.loggers:
                facts = {"statistics": data.statistics._asdict(), "held_out": data.held_out._asdict()}
                logger.log_hyperparams(config | facts)

        outcome = run_stages(
            trainer, module, data, checkpoints, selected, config["stages"], cfg.ckpt, cfg.resume, begin
        )
        score = outcome.chosen[0].val_scores[cfg.monitor]
        if "predict" in config["stages"] and trainer.is_global_zero:
            print(f"recommendations: {recommend(cfg, module, data, folder.path)}")
        if config["stages"] == ["predict"]:
            return score
        job = HydraConfig.get()
        about = {
            "config": config,
            "overrides": OmegaConf.to_container(job.overrides.task, resolve=False),
            "choices": dict(job.runtime.choices),
            "pruned": pruned(trainer),
        }
        folder.own()
        record(folder.path, trainer, module, data, outcome, about)
    return score


def recommend(cfg: DictConfig, module: "NextItemModule", data: Any, folder: Path) -> Path:
    """Write what the trained model recommends to the users of the log, to some of them, or to other people."""
    from adamct.serving.predictions import write_recommendations
    from adamct.serving.recommender import Recommender
    from datamodules.people import others, users_of_log
    from datamodules.titles import read_titles

    keys = cfg.predict
    require(None in (keys.users, keys.histories), "predict.users and predict.histories: give one of them")
    if keys.histories is None:
        people = users_of_log(data.interactions, None if keys.users is None else Path(keys.users))
    else:
        require(not module.model.knows_users, f"predict.histories: {type(module.model).__name__} knows only its users")
        people = others(Path(keys.histories), instantiate(keys.columns), data.interactions.item_ids)
    titles = None if keys.titles is None else read_titles(Path(keys.titles), data.interactions.item_ids)
    recommender = Recommender(module.model, module.item_ids, data.max_len)
    with blame("predict"):
        return write_recommendations(
            recommender, people, folder, keys.format, keys.k, keys.unseen, cfg.dataset.eval_batch_size, titles
        )


def build_module(cfg: DictConfig, config: dict[str, Any], data: Any) -> "NextItemModule":
    """The model for this data in its LightningModule."""
    from adamct.training.module import NextItemModule
    from adamct.training.step import compiled, training_loss

    make_model = instantiate(cfg.model, _partial_=True, _convert_="all")  # plain dicts and lists, as a checkpoint has
    with blame("model"):
        model = make_model(data.spec)
    with blame("loss"):
        loss = partial(training_loss, objective=instantiate(cfg.loss, _partial_=True)(data.spec))
    if cfg.compile is not None:
        loss = compiled(loss, cfg.compile, model, -(-data.max_len // cfg.compile_widths))
    sizes = {name: value for name, value in data.spec._asdict().items() if isinstance(value, int)}
    return NextItemModule(
        model,
        loss,
        instantiate(cfg.optimizer),
        instantiate(cfg.scheduler),
        data.spec,
        data.negatives.count,
        config["cutoffs"],
        cfg.seed,
        identity=identity_of(config, {**data.identity, **sizes}),
        item_ids=data.interactions.item_ids.to_list(),
    )


def trial_report(monitor: str) -> "TrialReport | None":
    """What reports to the search that this job is a trial of, if it is one whose study others can reach."""
    search = HydraConfig.get().sweeper
    if search.get("trial") is None or search.storage is None:
        return None
    from adamct.search.pruning import TrialReport

    return TrialReport(search.storage, search.study_name, search.trial, instantiate(search.pruner), monitor)


def self_contained(cfg: DictConfig) -> str:
    """The config as YAML that composes to itself: names of chosen groups stand in place of their interpolations."""
    text = OmegaConf.to_yaml(cfg)
    for group, choice in HydraConfig.get().runtime.choices.items():
        text = text.replace(f"${{hydra:runtime.choices.{group}}}", str(choice))
    return text


def without_null(arguments: list[str]) -> list[str]:
    """Turn GROUP=null, which Hydra refuses, into ~GROUP, none of its choices, where that leaves null."""
    groups = [argument.removesuffix("=null") for argument in arguments if argument.endswith("=null")]
    none = {f"{group}=null": f"~{group}" for group in groups if may_be_null(group) and (CONF / group).is_dir()}
    return [none.get(argument, argument) for argument in arguments]


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
    if sweep := os.environ.pop(PARENT, None):
        end_with(int(sweep))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its own complaints instead of printing them
    sys.argv[1:] = without_null(sys.argv[1:])
    try:
        main()  # pyright: ignore[reportCallIssue]  # Hydra passes the config
    except Exception as error:
        exit_with(error)
