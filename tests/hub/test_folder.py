"""An exported folder recommends exactly as its checkpoint, and nothing in it is trusted."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import adamct
from adamct.errors import InputError
from adamct.hub.__main__ import export
from adamct.hub.folder import write_folder
from tests.conftest import MODELS, TINY, Ended
from tests.serving.checkpoints import checkpoint

QUICK = ("hgn", "markov")


@pytest.mark.parametrize("name", [pytest.param(m, marks=[pytest.mark.slow] * (m not in QUICK)) for m in MODELS])
def test_weights_and_ids_are_those_of_the_checkpoint(name: str, tmp_path: Path) -> None:
    content = checkpoint(name)
    torch.save(content, tmp_path / "best.ckpt")
    write_folder(tmp_path / "model", content, "")
    source, copy = (adamct.load(tmp_path / path) for path in ("best.ckpt", "model"))
    assert (copy.item_ids, copy.max_len) == (source.item_ids, source.max_len)
    for key, value in source.model.state_dict().items():
        assert torch.equal(copy.model.state_dict()[key], value)


def test_an_exported_run_recommends_exactly_the_same(
    tmp_path: Path, run: Callable[..., Ended], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, copy = tmp_path / "run", tmp_path / "copy"
    assert run(*TINY, "label=mine", "trainer.max_epochs=1", f"hydra.run.dir={folder}") == Ended(0, "")
    results = json.loads((folder / "results.json").read_text())
    for weights in ("best_full.ckpt", "best.ckpt"):
        export(folder, copy, weights)
        source, loaded = adamct.load(folder / "checkpoints" / weights), adamct.load(copy)
        histories = [source.item_ids[:4], source.item_ids[9:10]]
        assert loaded.recommend(histories) == source.recommend(histories)
    card = (copy / "README.md").read_text()
    values = [results["metrics"]["test/uni20/ndcg@10"], results["references"]["markov"]["test/uni20/ndcg@10"]]
    facts = [*(f"{value:.4f}" for value in values), results["dataset"]["sha256"], results["git_commit"] or "unknown"]
    assert [fact for fact in [*facts, "among 20 sampled items", "label=mine"] if fact not in card] == []
    assert "| full |" not in card  # tested with other weights
    assert str(tmp_path) not in card + (copy / "config.json").read_text()
    with pytest.raises(InputError, match=r"last\.ckpt: .* tested best\.ckpt, best_full\.ckpt, best_full_unseen\.ckpt"):
        export(folder, copy, "last.ckpt")
    with pytest.raises(InputError, match=r"holds no results\.json"):
        export(copy, tmp_path / "other", "best.ckpt")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "lacks config.json of an exported model"),
        ("config.json", b"{", "config.json: cannot be read"),
        ("config.json", b"[]", "is not a complete checkpoint"),
        ("items.json", b'["a"]', "num_items=30, but 1 item_ids"),
        ("model.safetensors", b"\x80\x04", "model.safetensors: cannot be read"),
    ],
    ids=["no config", "half a config", "another config", "other ids", "other weights"],
)
def test_damaged_folders_are_one_line(file: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    write_folder(tmp_path, checkpoint(), "")
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError) as error:
        adamct.load(tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_calls_only_classes_of_models(tmp_path: Path) -> None:
    content = checkpoint()
    content["identity"]["model"] = {"_target_": "os.system", "command": f"touch {tmp_path}/executed"}
    write_folder(tmp_path / "model", content, "")
    with pytest.raises(InputError, match=r"names 'os\.system', which is not loaded"):
        adamct.load(tmp_path / "model")
    assert not (tmp_path / "executed").exists()


def test_other_folders_are_kept(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match="holds other files; give a new folder"):
        write_folder(tmp_path, checkpoint(), "")
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_missing_extra_names_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamct.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"the Hub needs missing packages \(.*\): pip install 'adamct\[hub\]'"):
        adamct.load("someone/some-model")
