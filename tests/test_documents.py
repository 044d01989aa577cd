"""The documents and the config name only what exists, and their commands compose."""

import re
import shlex
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

import pytest
from hydra.utils import get_object

from tests.conftest import CONF, Ended

Run = Callable[..., Ended]
ROOT = CONF.parent
DOCUMENTS = [folder / "README.md" for folder in (ROOT, CONF, ROOT / "benchmarks", ROOT / "reports")]
PLACEHOLDER = re.compile(r"\b(NAME|FOLDER|MODEL|DATASET)\b|\.\.\.|install=")
WRITTEN_BY_RUNS = {"config.yaml", "multirun.yaml", "table.md", "outputs/debug"}


def snippets(document: Path) -> list[str]:
    """Return each line of the fenced blocks and each text in backticks."""
    text = document.read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    inline = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return [*(line.split("  #")[0] for block in blocks for line in block.splitlines()), *inline]


def commands(beginning: str) -> list[str]:
    """Return the rest of every command that begins with some words, such as ``python run.py``."""
    parts = (
        part
        for document in DOCUMENTS
        for snippet in snippets(document)
        for part in " ".join(snippet.split()).split(" && ")
    )
    return sorted({part.partition(beginning)[2].strip() for part in parts if beginning in part})


def first_values(words: list[str]) -> list[str]:
    """Return overrides with the first value of each that a sweep varies, without those that a search draws."""
    return [word if "{" in word else word.split(",")[0] for word in words if "interval(" not in word]


RUNS = [
    command
    for beginning in ("python run.py", "adamct run")
    for command in commands(beginning)
    if not PLACEHOLDER.search(command)
]


@pytest.mark.parametrize("command", RUNS)
def test_commands_of_the_documents_compose(command: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in shlex.split(command) if word != "-m"]
    overrides = first_values(list(takewhile(lambda word: not word.startswith("-"), words)))
    assert run("--cfg", "job", *overrides) == Ended(0, "")
    assert "_target_" in capsys.readouterr().out


@pytest.mark.parametrize("command", commands("python -m"))
def test_modules_in_the_documents_have_the_options(command: str, configure: Callable[..., object]) -> None:
    module, *words = shlex.split(command)
    package = find_spec(module)
    assert package is not None
    spec = find_spec(f"{module}.__main__") if package.submodule_search_locations else package
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text()
    assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []
    configure(*(word for word in words if "=" in word))


def missing(document: Path) -> list[str]:
    """Return the files and folders that a document names and that do not exist."""
    text = document.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    named = [name for name in snippets(document) if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", name)]
    tops = {path.name for path in ROOT.iterdir()}
    paths = [
        name
        for name in named
        if name.endswith((".py", ".yaml", ".md", ".toml")) or ("/" in name and name.split("/")[0] in tops)
    ]
    wanted = [path for path in [*filter(None, links), *paths] if not PLACEHOLDER.search(path)]
    return [path for path in wanted if path not in WRITTEN_BY_RUNS and not exists(path, document.parent)]


@cache
def sources() -> set[str]:
    return {path.name for folder in ("adamct", "datamodules", "benchmarks") for path in (ROOT / folder).rglob("*.py")}


def exists(path: str, folder: Path) -> bool:
    return (folder / path).exists() or (ROOT / path).exists() or path in sources()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.parent.name)
def test_every_path_in_a_document_exists(document: Path) -> None:
    assert missing(document) == []


def test_missing_paths_are_found(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("[a](a/b.md) `adamct/nowhere/` `other.py` `conf/model/NAME.yaml` `run.py` [b](https://x.y/z)")
    assert missing(document) == ["a/b.md", "adamct/nowhere/", "other.py"]


TARGETS = {
    target
    for file in sorted(CONF.rglob("*.yaml"))
    for target in re.findall(r"_target_: *[\"']?([\w.]+)", file.read_text())
}


def test_documents_have_commands_and_conf_has_targets() -> None:
    assert len(TARGETS) > 40
    assert len(RUNS) > 20
    assert len(commands("python -m")) > 5


def test_every_target_in_conf_can_be_imported() -> None:
    assert [target for target in sorted(TARGETS) if not callable(get_object(target))] == []
