"""A model goes to a server on this machine that answers as the Hub, and comes back."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import adamct
from adamct.errors import InputError
from adamct.hub.folder import write_folder
from adamct.hub.remote import push
from tests.hub.hub_server import NAME, TOKEN, Hub, serving
from tests.serving.checkpoints import NAMES, checkpoint


@pytest.fixture
def reload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the Hub's client again in this test, because it reads the environment when it is imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reload: None) -> Iterator[type[Hub]]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving() as (address, handler):
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield handler


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    write_folder(tmp_path / "model", checkpoint(), "# A card\n")
    return tmp_path / "model"


def test_a_pushed_model_is_loaded_by_its_name(exported: Path, hub: type[Hub]) -> None:
    (exported / "secret.txt").touch()
    push(exported, NAME, private=True)
    assert sorted(hub.files) == ["README.md", "config.json", "items.json", "model.safetensors"]
    pushed = len(hub.requests)
    histories = [NAMES[:3], NAMES[7:9]]
    assert adamct.load(NAME).recommend(histories) == adamct.load(exported).recommend(histories)
    assert not [request for request in hub.requests[pushed:] if request.endswith("README.md")]


def test_refusals_of_the_hub_are_one_line(exported: Path, hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = []
    with pytest.raises(
        InputError, match=r"someone/other: no such file or folder here, and .* has no such model"
    ) as error:
        adamct.load("someone/other")
    lines.append(str(error.value))
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(InputError, match=rf"{NAME}: .* refuses \(403 Forbidden\): log in with hf auth login") as error:
        push(exported, NAME, private=False)
    lines.append(str(error.value))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match="no token for the Hub: log in") as error:
        push(exported, NAME, private=False)
    with pytest.raises(InputError, match="some-model: must be a name on the Hub, OWNER/NAME"):
        push(exported, "some-model", private=False)
    assert not [line for line in lines if "\n" in line]


def test_a_missing_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reload: None) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        with pytest.raises(InputError, match=r"did not answer \(.*\); check the network") as error:
            adamct.load(NAME)
    assert "\n" not in str(error.value)
