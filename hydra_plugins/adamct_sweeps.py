"""What Hydra must find in every process of a sweep: `hydra/sweeper=optuna`, and how folders are named."""

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
from adamct.sweeps.callback import exit_if_stopping
from adamct.sweeps.folders import job_name, readable
from adamct.values import PositiveInt, Text

if TYPE_CHECKING:  # Optuna is an extra, and Hydra imports this file at every start
    import optuna

NOT_SEARCHED = ("hydra", "label", *EXECUTION)
"""Keys that may change while a study goes on."""

OmegaConf.register_new_resolver("job_name", job_name, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)


class OptunaSweeper(Sweeper):
    """Draws the jobs of a sweep from an Optuna study, in batches, and tells it how they ended.

    The study outlives the process where its storage does: given again, the command first finishes the trials that
    were cut off, in their own folders, and then draws what is missing of the number asked for.

    Args:
        study_name: the study's name in its storage; None is the sweep's own.
        storage: see `adamct.search.storage.open_storage`.
        sampler: config of one of Optuna's samplers; its seed changes whenever a study is continued.
        pruner: config of one of Optuna's pruners, or None.
        n_trials: how many trials the study is to have, however they end.
        n_jobs: how many are launched together.
        constraints: what cannot be drawn together; see `adamct.search.space.draw`.
        params: the search space, which the command line adds to.
        trial: the number of the trial that a job is; set for each.
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
            storage is not None or pruner is None, "hydra.sweeper.pruner: needs hydra.sweeper.storage to see scores"
        )

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the study has as many as it should."""
        from adamct.search.storage import cut_off, end, own_name

        assert self.config is not None
        assert self.launcher is not None
        folder = Path(self.config.hydra.sweep.dir)
        overrides = self.overrides(arguments)
        self.study_name = self.study_name or own_name(folder, self.storage)
        self.config.hydra.sweeper.study_name = self.study_name  # which reports read
        study = self.study(overrides)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        unfinished, exhausted = cut_off(study), False
        while unfinished or (len(study.get_trials(deepcopy=False)) < self.n_trials and not exhausted):
            batch, unfinished = unfinished[: self.n_jobs], unfinished[self.n_jobs :]
            missing = self.n_trials - len(study.get_trials(deepcopy=False))
            batch += [study.ask() for _ in range(min(self.n_jobs - len(batch), missing))]
            jobs = [self.job(trial, overrides) for trial in batch]
            self.validate_batch_is_legal(jobs)
            returns = self.launcher.launch(jobs, initial_job_idx=batch[0].number)
            exit_if_stopping(folder)  # before trials that were cut off count as ended
            for trial, returned in zip(batch, returns, strict=True):
                score = score_of(returned)
                if score is None:  # killed: the trial is to go on when the command is given again
                    continue
                exhausted |= end(study, trial, score)
                print(f"trial {trial.number}: {study.get_trials(deepcopy=False)[trial.number].state.name.lower()}")
        report_best(study, folder)

    def overrides(self, arguments: list[str]) -> list[Override]:
        """What is searched and what is fixed; the last of a key counts."""
        assert self.hydra_context is not None
        given = [f"{key}={value}" for key, value in self.params.items()] + arguments
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return list({override.get_key_element(): override for override in parser.parse_overrides(given)}.values())

    def study(self, overrides: Sequence[Override]) -> "optuna.Study":
        """The study as it stands, or a new one."""
        import optuna

        from adamct.search.storage import continued_seed, open_storage, open_study

        assert self.study_name is not None
        storage = open_storage(self.storage)
        known = self.study_name in optuna.get_all_study_names(storage)
        trials = optuna.load_study(study_name=self.study_name, storage=storage).trials if known else []
        sampler = dict(self.sampler)
        if sampler.get("seed") is not None:
            sampler["seed"] = continued_seed(sampler["seed"], len(trials))
        return open_study(
            self.study_name, storage, instantiate(sampler), instantiate(self.pruner), self.search(overrides)
        )

    def search(self, overrides: Sequence[Override]) -> dict[str, Any]:
        """Return what the trials share and what they draw, by dotted keys; interpolations stay as they are."""
        config = cast(dict[str, Any], OmegaConf.to_container(self.config))
        shared = {key: value for key, value in flat(config).items() if not named(key, NOT_SEARCHED)}
        drawn = [override for override in overrides if override.is_sweep_override()]
        texts = (str(override.input_line).partition("=")[2] for override in drawn)
        return shared | {
            override.get_key_element(): "".join(text.split()) for override, text in zip(drawn, texts, strict=True)
        }

    def job(self, trial: "optuna.Trial", overrides: Sequence[Override]) -> list[str]:
        """A trial as the overrides of a job."""
        from adamct.search.space import draw, parameter

        fixed = [override for override in overrides if not override.is_sweep_override()]
        space = [parameter(override) for override in overrides if override.is_sweep_override()]
        values = {override.get_key_element(): override.value() for override in fixed}
        drawn = draw(trial, space, self.constraints, values)
        folder = trial_folder(trial.number, drawn)
        name = QuotedString(str(self.study_name), Quote.single).with_quotes()
        place = [f"hydra.sweeper.trial={trial.number}", f"hydra.sweeper.study_name={name}"]
        place.append(f"hydra.sweep.subdir='{folder}'")
        return [str(override.input_line) for override in fixed] + drawn + place


def trial_folder(number: int, overrides: Sequence[str]) -> str:
    """A folder's name that tells the trial and what it drew, by the last parts of the keys."""
    drawn = (override.partition("=") for override in overrides)
    return readable(
        ",".join([f"{number:04}", *(f"{key.rpartition('.')[2]}={short(value)}" for key, _, value in drawn)])
    )


def short(value: str) -> str:
    """A value, numbers to four digits."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def score_of(returned: JobReturn) -> float | None:
    """Return a job's score, NaN where it failed, None where it was killed."""
    if returned.status != JobStatus.COMPLETED:
        return float("nan")
    return None if returned.return_value is None else float(returned.return_value)


def report_best(study: "optuna.Study", folder: Path) -> None:
    """Print the best trial, and how to test it."""
    if any(trial.value is not None for trial in study.get_trials(deepcopy=False)):
        best = study.best_trial
        drawn = " ".join(f"{name.partition(' of ')[0]}={value}" for name, value in best.params.items())
        print(f"best of {len(study.trials)} trials: {best.number}, {best.value:.4f}: {drawn}")
        for found in folder.resolve().glob(f"{best.number:04},*"):
            test = f"'stages=[test]' \"ckpt='{found}/checkpoints'\""
            print(f"to test it: python run.py '--config-path={found}' --config-name=config {test}")
