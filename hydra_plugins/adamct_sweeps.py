"""`hydra/sweeper=optuna`, and the resolvers that name the folders of runs and jobs."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from adamct.errors import require
from adamct.identity import named
from adamct.keys import flat, in_shell, override_with
from adamct.runs.job import ELSEWHERE, stop_file
from adamct.runs.processes import run_name
from adamct.sweeps.commands import MAY_CHANGE, POLL_SECONDS, exit_if_stopping, living, turn
from adamct.sweeps.folders import job_name, readable
from adamct.values import PositiveInt, Text
from hydra_plugins.adamct_processes import Job, ProcessesLauncher

if TYPE_CHECKING:  # Optuna is an extra, and Hydra imports this file at every start
    import optuna
    from optuna.samplers import BaseSampler

    from adamct.search.space import Parameter
    from adamct.search.trials import Trials

log = logging.getLogger(__name__)

OmegaConf.register_new_resolver("job_name", job_name, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)


class OptunaSweeper(Sweeper):
    """A sweeper whose jobs are the trials of an Optuna study, which several commands can share.

    If the study is stored, the same command continues or joins it. It first finishes the trials of commands that have
    ended, in their own folders. Then it draws new trials until the study has ``n_trials``, and waits for the other
    commands' trials.

    Args:
        study_name: the study's name in its storage; None for a name that belongs to the sweep alone.
        storage: see `adamct.search.storage.open_storage`.
        sampler: config of one of Optuna's samplers. Its seed changes when a study is continued.
        pruner: config of one of Optuna's pruners; None prunes no trial.
        n_trials: the number of trials of the whole study, including failed and pruned ones.
        n_jobs: the number of trials that this command runs at once.
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
        from adamct.search.space import parse_parameter
        from adamct.search.storage import default_study_name
        from adamct.search.trials import Trials

        assert self.config is not None
        folder, command = Path(self.config.hydra.sweep.dir), self.config.hydra.callbacks.sweep.command
        overrides = self.parse_overrides(arguments)
        fixed = [override for override in overrides if not override.is_sweep_override()]
        # A mistake in the space must end the command before the study has a trial, whose space could not be corrected.
        space = [parse_parameter(override) for override in overrides if override.is_sweep_override()]
        self.study_name = self.study_name or default_study_name(folder, self.storage)
        self.config.hydra.sweeper.study_name = self.study_name  # which a report reads
        with turn(folder):
            require(
                self.storage is not None or living(folder) == {command},
                "hydra.sweeper.storage=null: must be a storage that other commands can read to join their search",
            )
            study = self.open_study(overrides)
            OmegaConf.save(self.config, folder / "multirun.yaml")
            trials = Trials(study, self.n_trials, command, folder, self.make_sampler)
        while True:
            for number, returned in self.launch_each(lambda: self.next_job(trials, fixed, space)):
                if not stop_file(self.config.hydra).exists():  # which leaves trials unfinished
                    trials.record(number, returned_score(returned))
            exit_if_stopping(self.config)
            if not trials.unfinished():
                break
            time.sleep(POLL_SECONDS)  # other commands run the last trials
        report_best(study, folder)

    def next_job(self, trials: "Trials", fixed: Sequence[Override], space: Sequence["Parameter"]) -> Job | None:
        """Return the number and the overrides of the next trial; None if there is none for now."""
        assert self.config is not None
        if stop_file(self.config.hydra).exists():
            return None
        with turn(trials.sweep):
            trial = trials.take(living(trials.sweep))
            return trial and (trial.number, self.draw_job(trial, fixed, space))

    def launch_each(self, next_job: Callable[[], Job | None]) -> Iterator[tuple[int, JobReturn]]:
        """Run jobs until there is none for now, and yield the number and the result of each."""
        if not isinstance(self.launcher, ProcessesLauncher):
            yield from self.launch_batches(next_job)
            return
        yield from self.launcher.launch_each(next_job)
        self.launcher.close()  # frees the memory of its processes while other commands run the last trials

    def launch_batches(self, next_job: Callable[[], Job | None]) -> Iterator[tuple[int, JobReturn]]:
        """Do the same with a launcher that returns only when all of its jobs have ended: Slurm's and Ray's."""
        assert self.launcher is not None
        while batch := list(islice(iter(next_job, None), self.n_jobs)):
            numbers, overrides = zip(*batch, strict=True)
            self.validate_batch_is_legal(overrides)
            yield from zip(numbers, self.launcher.launch(overrides, initial_job_idx=numbers[0]), strict=True)

    def parse_overrides(self, arguments: list[str]) -> list[Override]:
        """Parse the search space and the command line. The last override of a key counts."""
        assert self.hydra_context is not None
        texts = [f"{key}={value}" for key, value in self.params.items()] + arguments
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return list({override.get_key_element(): override for override in parser.parse_overrides(texts)}.values())

    def open_study(self, overrides: Sequence[Override]) -> "optuna.Study":
        """Load the study, or create it if the storage does not have it."""
        from adamct.search.storage import open_storage, open_study

        assert self.study_name is not None
        search = self.describe_search(overrides)
        return open_study(self.study_name, open_storage(self.storage), instantiate(self.pruner), search)

    def make_sampler(self, first: int) -> "BaseSampler":
        """Make the sampler of a command whose first new trial has this number."""
        from adamct.search.storage import continued_seed

        sampler = dict(self.sampler)
        if sampler.get("seed") is not None:
            sampler["seed"] = continued_seed(sampler["seed"], first)
        return instantiate(sampler)

    def describe_search(self, overrides: Sequence[Override]) -> dict[str, Any]:
        """Return the config that the trials share and the search space, by dotted keys, without resolving either."""
        config = cast(dict[str, Any], OmegaConf.to_container(self.config))
        shared = {key: value for key, value in flat(config).items() if not named(key, MAY_CHANGE)}
        drawn = [override for override in overrides if override.is_sweep_override()]
        texts = (str(override.input_line).partition("=")[2] for override in drawn)
        return shared | {
            override.get_key_element(): "".join(text.split()) for override, text in zip(drawn, texts, strict=True)
        }

    def draw_job(self, trial: "optuna.Trial", fixed: Sequence[Override], space: Sequence["Parameter"]) -> list[str]:
        """Draw a trial's values, and return the overrides of its job."""
        from adamct.search.space import draw

        values = {override.get_key_element(): override.value() for override in fixed}
        drawn = draw(trial, space, self.constraints, values)
        folder = trial_folder(trial.number, drawn)
        own = [f"hydra.sweeper.trial={trial.number}", override_with("hydra.sweeper.study_name", str(self.study_name))]
        own.append(override_with("hydra.sweep.subdir", folder))
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


def returned_score(returned: JobReturn) -> float | None:
    """Return a job's score; NaN if it failed, and None if it did not end here."""
    if returned.status != JobStatus.COMPLETED:
        return float("nan")
    return None if returned.return_value in (None, ELSEWHERE) else float(returned.return_value)


def report_best(study: "optuna.Study", folder: Path) -> None:
    """Log the best trial, and print the command that tests it. Do nothing if no trial is complete."""
    if any(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False)):
        best = study.best_trial
        values = " ".join(f"{name.partition(' of ')[0]}={value}" for name, value in best.params.items())
        log.info("best of %d trials: %d, %.4f: %s", len(study.trials), best.number, best.value, values)
        for run in folder.resolve().glob(f"{best.number:04},*"):
            config = f"{in_shell(f'--config-path={run}')} --config-name=config"
            checkpoint = in_shell(override_with("ckpt", f"{run}/checkpoints"))
            print(f"to test it: python run.py {config} 'stages=[test]' {checkpoint}")
