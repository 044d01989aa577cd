"""The libraries that each part may import."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DRAWING = re.compile(r"\s*(import|from) (matplotlib|scipy(?!\.sparse)|jinja2|markupsafe|PIL)\b")
"""The libraries that only a report needs."""
EXECUTES = re.compile(
    r"\b(pickle|dill|joblib|shelve|marshal)\b.*\bload|\bimport (pickle|dill|joblib|shelve|marshal)\b|read_pickle"
    r"|allow_pickle=True|weights_only=False|yaml\.(unsafe_load|full_load|load\((?!.*SafeLoader))"
    r"|torch\.load\((?!.*weights_only=True)|load_from_checkpoint|safe_globals|(?<![\w.])(eval|exec)\("
)
"""The ways to read a file that execute its content."""
INTERNALS = re.compile(r"\s*(import|from) wandb\.")


def lines(folder: str) -> Iterator[tuple[Path, str]]:
    for path in (ROOT / folder).rglob("*.py"):
        yield from ((path, line) for line in path.read_text().splitlines())


def test_only_reports_import_drawing_libraries() -> None:
    folders = ("adamct", "datamodules", "hydra_plugins")
    importers = {path for folder in folders for path, line in lines(folder) if DRAWING.match(line)}
    assert importers
    assert all(path.is_relative_to(ROOT / "adamct" / "report") for path in importers)


def test_wandb_is_used_by_its_public_interface() -> None:
    assert not {
        path for folder in ("adamct", "hydra_plugins", "tests") for path, line in lines(folder) if INTERNALS.match(line)
    }
    assert INTERNALS.match("from wandb.sdk import wandb_run")


def test_no_file_is_read_in_a_way_that_executes_it() -> None:
    folders = ("adamct", "datamodules", "hydra_plugins", "benchmarks")
    ours = [
        *(pair for folder in folders for pair in lines(folder)),
        *((ROOT / "run.py", line) for line in (ROOT / "run.py").read_text().splitlines()),
    ]
    assert not [(path, line) for path, line in ours if EXECUTES.search(line)]
    for reads in (
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "import pickle",
        "yaml.load(text)",
        "eval(text)",
    ):
        assert EXECUTES.search(reads)


def test_hydra_is_a_version_that_checks_its_targets() -> None:
    floor = re.search(r'"hydra-core>=([\d.]+)', (ROOT / "pyproject.toml").read_text())
    assert floor is not None
    assert tuple(map(int, floor[1].split("."))) >= (1, 3, 4)
