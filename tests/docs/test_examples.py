"""The notebook runs, and the errors of the page on troubleshooting are what a user sees."""

import re
import shlex
import socket
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import Ended, run_module
from tests.test_documents import ROOT, TROUBLESHOOTING

ENTRIES = re.findall(r"```bash\n(.*?)\n```\n\n```text\n(.*?)\n```", TROUBLESHOOTING.read_text(), re.S)
QUICK = ("debug=fast", "trainer.enable_progress_bar=false")


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "start.ipynb", 4)
    for name in ("run.py", "conf", "adamct", "datamodules", "hydra_plugins", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [output["text"] for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [line.split()[0] for line in printed[1].splitlines()] == ["uni100", "full", "full_unseen"]
    assert len(printed[-1].splitlines()) == 5


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that has the logs of the commands, without a network."""
    rows = [f"u{user},i{(7 * user + 5 * place) % 12},{100 * user + place}" for user in range(60) for place in range(8)]
    files = {
        "log.csv": ["user,item,timestamp", *rows],
        "other.csv": ["customer,sku,time", *rows],
        "small.csv": ["user,item,timestamp", "a,p,1", "a,q,2", "a,r,3", "b,s,1", "b,t,2", "b,p,3"],
        "empty.csv": ["user,item,timestamp", *rows[:6], "u0,,6", *rows[7:]],
        "dates.csv": ["user,item,timestamp", *rows[:6], "u0,i3,yesterday", *rows[7:]],
        "seq.txt": [" ".join([str(user), *(str((user + place) % 12 + 1) for place in range(8))]) for user in range(40)],
    }
    for name, lines in files.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)

    def refused(*args: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refused)


def test_there_are_twenty_errors() -> None:
    assert len(ENTRIES) >= 20


@pytest.mark.slow
@pytest.mark.parametrize(("commands", "line"), ENTRIES, ids=[line[:40] for _, line in ENTRIES])
def test_errors_are_what_the_page_shows(
    commands: str, line: str, logs: None, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Ended(0, "")
    for command in commands.splitlines():
        program, *words = shlex.split(command)[1:]
        if program == "-m":
            monkeypatch.setattr("sys.argv", words)
            with pytest.raises(SystemExit) as exit:
                run_module(words[0])
            ended = Ended(1, str(exit.value.code))
        else:
            ended = run(*words, *QUICK)
    pattern = ".*".join(map(re.escape, line.split("...")))
    assert re.fullmatch(pattern, ended.line.replace("\n", " ")), ended.line


def test_the_pages_of_the_navigation_exist() -> None:
    listed = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    written = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert written <= set(listed)
