"""`hydra/sweeper=optuna`, and the resolvers that name the folders of runs and jobs."""

import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from adamct.errors import require
from adamct.identity import EXECUTION, named
from adamct.keys import flat
from adamct.runs.processes import run_name
from adamct.sweeps.folders import job_name, readable
from adamct.sweeps.signals import exit_if_stopping
from adamct.values import PositiveInt, Text

if TYPE_CHECKING:  # Optuna is an extra, and Hydra imports this file at every start
    import optuna

log = logging.getLogger(__name__)

MAY_CHANGE = ("hydra", "label", *EXECUTION)
"""Keys that may change when a study is continued."""

OmegaConf.register_new_resolver("job_name", job_name, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)


class OptunaSweeper(Sweeper):
    """A sweeper whose jobs are the trials of an Optuna study.

    If the study is stored, the same command continues it. It first finishes the interrupted trials in their own
    folders. Then it draws new trials until the study has ``n_trials``.

    Args:
        study_name: the study's name in its storage; None for a name that belongs to the sweep alone.
        storage: see `adamct.search.storage.open_storage`.
        sampler: config of one of Optuna's samplers. Its seed changes when a study is continued.
        pruner: config of one of Optuna's pruners; None prunes no trial.
        n_trials: the number of trials of the whole study, including failed and pruned ones.
        n_jobs: the number of trials that are launched together.
        constraints: configs of `adamct.search.constraints.Constraint`; see `adamct.search.space.draw`.
        params: the search space. The command line can add to it and change it.
        trial: the number of a job's trial. It is set for each job.
    """

    def __init__(
        self,
        study_name: Text | None,
        storage: Text | None,
        sampler: DictConfig,
        pruner: DictConfig | None,
        n_trials: PositiveInt,
        n_jobs: PositiveInt,
        constraints: Sequence[DictConfig],
        params: Mapping[str, Any] | None,
        trial: int | None,
    ):
        require(find_spec("optuna") is not None, "hydra/sweeper=optuna needs Optuna: pip install -e '.[search]'")
        self.study_name = study_name
        self.storage = storage
        self.sampler = sampler
        self.pruner = pruner
        self.n_trials = n_trials
        self.n_jobs = n_jobs
        self.constraints = [instantiate(constraint) for constraint in constraints]
        self.params = params or {}
        require(
            storage is not None or pruner is None,
            "hydra.sweeper.storage=null: must be a storage for the pruner; give one, or hydra.sweeper.pruner=null",
        )

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra passes, and make the launcher."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the study has ``n_trials``, or until its sampler has drawn every point of the space."""
        from adamct.search.storage import default_study_name, finish_trial, unfinished_trials

        assert self.config is not None
        assert self.launcher is not None
        folder = Path(self.config.hydra.sweep.dir)
        overrides = self.parse_overrides(arguments)
        self.study_name = self.study_name or default_study_name(folder, self.storage)
        self.config.hydra.sweeper.study_name = self.study_name  # which a report reads
        study = self.open_study(overrides)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        unfinished, exhausted = unfinished_trials(study), False
        while unfinished or (len(study.get_trials(deepcopy=False)) < self.n_trials and not exhausted):
            batch, unfinished = unfinished[: self.n_jobs], unfinished[self.n_jobs :]
            missing = self.n_trials - len(study.get_trials(deepcopy=False))
            batch += [study.ask() for _ in range(min(self.n_jobs - len(batch), missing))]
            jobs = [self.draw_job(trial, overrides) for trial in batch]
            self.validate_batch_is_legal(jobs)
            returns = self.launcher.launch(jobs, initial_job_idx=batch[0].number)
            exit_if_stopping(folder)  # before interrupted trials are recorded as finished
            for trial, returned in zip(batch, returns, strict=True):
                score = score_of(returned)
                if score is None:  # killed: the trial stays unfinished, and the same command continues it
                    continue
                exhausted |= finish_trial(study, trial, score)
                state = study.get_trials(deepcopy=False)[trial.number].state
                log.info("trial %d: %s", trial.number, state.name.lower())
        report_best(study, folder)

    def parse_overrides(self, arguments: list[str]) -> list[Override]:
        """Parse the search space and the command line. The last override of a key counts."""
        assert self.hydra_context is not None
        texts = [f"{key}={value}" for key, value in self.params.items()] + arguments
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return list({override.get_key_element(): override for override in parser.parse_overrides(texts)}.values())

    def open_study(self, overrides: Sequence[Override]) -> "optuna.Study":
        """Load the study, or create it if the storage does not have it."""
        import optuna

        from adamct.search.storage import continued_seed, open_storage, open_study

        assert self.study_name is not None
        storage = open_storage(self.storage)
        exists = self.study_name in optuna.get_all_study_names(storage)
        trials = optuna.load_study(study_name=self.study_name, storage=storage).trials if exists else []
        sampler = dict(self.sampler)
        if sampler.get("seed") is not None:
            sampler["seed"] = continued_seed(sampler["seed"], len(trials))
        return open_study(
            self.study_name, storage, instantiate(sampler), instantiate(self.pruner), self.describe_search(overrides)
        )

    def describe_search(self, overrides: Sequence[Override]) -> dict[str, Any]:
        """Return the config that the trials share and the search space, by dotted keys, without resolving either."""
        config = cast(dict[str, Any], OmegaConf.to_container(self.config))
        shared = {key: value for key, value in flat(config).items() if not named(key, MAY_CHANGE)}
        drawn = [override for override in overrides if override.is_sweep_override()]
        texts = (str(override.input_line).partition("=")[2] for override in drawn)
        return shared | {
            override.get_key_element(): "".join(text.split()) for override, text in zip(drawn, texts, strict=True)
        }

    def draw_job(self, trial: "optuna.Trial", overrides: Sequence[Override]) -> list[str]:
        """Draw a trial's values, and return the overrides of its job."""
        from adamct.search.space import draw, parse_parameter

        fixed = [override for override in overrides if not override.is_sweep_override()]
        space = [parse_parameter(override) for override in overrides if override.is_sweep_override()]
        values = {override.get_key_element(): override.value() for override in fixed}
        drawn = draw(trial, space, self.constraints, values)
        folder = trial_folder(trial.number, drawn)
        name = QuotedString(str(self.study_name), Quote.single).with_quotes()
        own = [f"hydra.sweeper.trial={trial.number}", f"hydra.sweeper.study_name={name}"]
        own.append(f"hydra.sweep.subdir='{folder}'")
        return [str(override.input_line) for override in fixed] + drawn + own


def trial_folder(number: int, overrides: Sequence[str]) -> str:
    """Name a trial's folder by its number and drawn values. Only the last part of each key is kept."""
    drawn = (override.partition("=") for override in overrides)
    return readable(
        ",".join([f"{number:04}", *(f"{key.rpartition('.')[2]}={shorten(value)}" for key, _, value in drawn)])
    )


def shorten(value: str) -> str:
    """Round a value to four digits if it is a number."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def score_of(returned: JobReturn) -> float | None:
    """Return a job's score; NaN if it failed, and None if it was killed."""
    if returned.status != JobStatus.COMPLETED:
        return float("nan")
    return None if returned.return_value is None else float(returned.return_value)


def report_best(study: "optuna.Study", folder: Path) -> None:
    """Log the best trial, and print the command that tests it. Do nothing if no trial has a score."""
    if any(trial.value is not None for trial in study.get_trials(deepcopy=False)):
        best = study.best_trial
        values = " ".join(f"{name.partition(' of ')[0]}={value}" for name, value in best.params.items())
        log.info("best of %d trials: %d, %.4f: %s", len(study.trials), best.number, best.value, values)
        for run in folder.resolve().glob(f"{best.number:04},*"):
            test = f"'stages=[test]' \"ckpt='{run}/checkpoints'\""
            print(f"to test it: python run.py '--config-path={run}' --config-name=config {test}")
