"""The command `adamct`, in a clone and from a wheel."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from adamct.__main__ import MODULES, main
from tests.conftest import CONF, TINY

ROOT = CONF.parent


def test_runs_are_those_of_the_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    GlobalHydra.instance().clear()
    monkeypatch.setattr("sys.argv", ["adamct", "predict", "seed=3", "--cfg", "job"])
    main()
    printed = capsys.readouterr().out
    assert "seed: 3" in printed
    assert "stages:\n- predict\n" in printed
    assert sys.argv[0] == str(ROOT / "run.py")


@pytest.mark.parametrize("name", MODULES)
def test_commands_of_modules_have_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["adamct", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert MODULES[name].removesuffix(".__main__") in capsys.readouterr().out


def test_a_mistyped_command_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["adamct", "reprot"])
    with pytest.raises(SystemExit, match=r"reprot: must be one of .* did you mean report"):
        main()


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the command of a wheel, in a new environment that finds the other packages of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", folder], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv")
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    subprocess.run([*pip, "--python", folder / "venv", "install", "--no-deps", wheel], check=True)
    return folder / "venv" / "bin" / "adamct"


@pytest.mark.slow
@pytest.mark.integration
def test_a_wheel_trains_and_sweeps_in_any_folder(
    command: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = (f"u{user},i{(user + step * step) % 30},{step}" for user in range(60) for step in range(12))
    Path("log.csv").write_text("\n".join(["user,item,timestamp", *rows]))
    small = [key for key in TINY if not key.startswith(("dataset.num_users", "dataset.process", "hydra"))]
    log = [*small, "dataset=custom", "dataset.path=log.csv", "trainer.max_epochs=1"]

    def adamct(*words: str) -> None:
        subprocess.run([command, *words], check=True)

    adamct("run", *log, "hydra.run.dir=one")
    adamct("predict", *log, "ckpt=one/checkpoints/best.ckpt", "predict.format=csv", "hydra.run.dir=predicted")
    assert Path("predicted/recommendations.csv").read_text().startswith("user,rank,item,score\nu0,1,i")
    processes = ["hydra/launcher=processes", "hydra.launcher.n_jobs=2"]
    adamct("run", "-m", *log, *processes, "seed=1,2", "hydra.sweep.dir=two")
    adamct("run", *log, "trainer.strategy=ddp", "trainer.devices=2", "hydra.run.dir=together")
    assert len(list(Path().rglob("results.json"))) == 4
    assert Path("two/report/report.html").exists()
