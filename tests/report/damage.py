"""Damages to each file of a folder of runs, for the tests of reports."""

import json
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import yaml

from adamct.runs.folder import write_arrays
from adamct.search.storage import open_storage
from tests.report.runs import EPOCHS, draw, kinds_of_users, write_multirun, write_run

USERS = 200
MONITOR = "val/uni100/ndcg@10"
SPARED = ("core", "sasrec", "1")
"""Parts of the paths of runs that stay undamaged."""
VALUES = (None, True, "$x_$\n", -1, 0.5, float("nan"), [], [1], {"x": 1})
CONTENTS = (b"", b"\n", b"{", b"[]", b"{}", b"3", b"null", b'"x"', b"a: [", b"- 1\n- {a: 1}", b"\x89PNG\r\n\0\xff\xfe")
CONTENTS += (b"[" * 100_000, b"&a [*a]", b"{2014: 2014-13-45, ? [1] : 2}", b"%PDF\n", b"1" * 5000, b'["\\ud800"]')
"""The contents of files that do not belong to a run."""


class Damage(NamedTuple):
    """One way to damage a file."""

    file: Path
    kind: str
    act: Callable[[Path], object]


def write_folder(folder: Path) -> Path:
    """Write a sweep of three models, one of them with all records, a failed and an unfinished run, and a search."""
    history = {f"mixture/layer1/{kind}": [0.5, None, 0.4] for kind in ("mean", "q10", "q90", "user0")}
    history[MONITOR] = [0.1, None, 0.2]
    held_out = {"test_tied": 0.25, "validation_from": None, "test_from": None}
    for model, strength in (("sasrec", 4.0), ("core", 5.0), ("adamct", 8.0)):
        ranks = draw(int(strength), strength, USERS)
        path = write_run(folder / model, model, 1, ranks, facts=kinds_of_users(USERS), history=history)
        results = json.loads((path / "results.json").read_text())
        results["dataset"]["held_out"] = held_out
        (path / "results.json").write_text(json.dumps(results))
    alpha = np.linspace(0, 1, USERS, dtype=np.float32)
    write_arrays(folder / "adamct" / "coefficients.npz", {"layer1": alpha, "taste-driven": alpha > 0.4})
    maps = {part: np.full((1, 10, 10), 0.1) for part in ("local", "global", "mixture")}
    facts = {"user": np.array([7]), "seq_len": np.array([10]), "item_seq": np.ones((1, 10), dtype=int)}
    write_arrays(folder / "adamct" / "item_correlations.npz", maps | facts)
    write_run(folder / "failed", "hgn", 1, error="ValueError: no luck")
    write_run(folder / "unfinished", "hgn", 2)
    write_multirun(folder, ["dataset=beauty", "model=sasrec,core,adamct,hgn,sine", "seed=1"])
    write_search(folder / "search")
    return folder


def write_search(folder: Path) -> None:
    """Write a search with two trials."""
    folder.mkdir()
    study = optuna.create_study(
        study_name="search", storage=open_storage(str(folder / "study.log")), direction="maximize"
    )
    for number in range(2):
        trial = study.ask()
        rate = trial.suggest_float("optimizer.lr", 0.1, 0.2)
        trial.report(0.2 + rate, 0)
        study.tell(trial, 0.2 + rate)
        keys = {"optimizer.lr": rate}
        write_run(folder / f"{number}", "adamct", 1, keys=keys, metrics={MONITOR: 0.2 + rate})
    sweeper = {
        "_target_": "some.Search",
        "study_name": "search",
        "storage": "${hydra.sweep.dir}/study.log",
        "sampler": {"_target_": "some.Sampler"},
    }
    hydra = {"sweeper": sweeper, "sweep": {"dir": str(folder)}, "overrides": {"task": []}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": hydra, "monitor": MONITOR}))


def damages(folder: Path, draws: int) -> Iterator[Damage]:
    """Yield every damage to every file below a folder.

    Args:
        folder: the folder of runs.
        draws: the number of random truncations and of flipped bytes for each file.
    """
    rng = np.random.default_rng(0)
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and not set(path.parts) & set(SPARED)):
        content = file.read_bytes()
        yield Damage(file, "deleted", Path.unlink)
        yield Damage(file, "a folder", lambda path: (path.unlink(), path.mkdir()))
        for other in CONTENTS:
            yield Damage(file, f"foreign {other[:20]!r}", lambda path, other=other: path.write_bytes(other))
        for length in sorted(set(rng.integers(1, max(len(content), 2), draws).tolist())):
            yield Damage(file, f"cut at {length}", lambda path, part=content[:length]: path.write_bytes(part))
        for index in sorted(set(rng.integers(0, len(content), draws).tolist())) if content else ():
            flipped = bytearray(content)
            flipped[index] ^= int(rng.integers(1, 256))
            yield Damage(file, f"flipped at {index}", lambda path, other=bytes(flipped): path.write_bytes(other))
        if file.suffix == ".npz":
            yield from damaged_arrays(file)
        elif file.suffix in (".json", ".yaml"):
            yield from damaged_keys(file)


def damaged_keys(file: Path) -> Iterator[Damage]:
    """Yield damages that remove each key of a file, or set it to each value."""
    text = file.read_text()
    content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    write = json.dumps if file.suffix == ".json" else yaml.safe_dump
    for path_of_key in paths_of_keys(content):
        for value in (*VALUES, paths_of_keys):  # the last one stands for removal
            changed = deepcopy(content)
            parent = changed
            for key in path_of_key[:-1]:
                parent = parent[key]
            if value is paths_of_keys:
                del parent[path_of_key[-1]]
            else:
                parent[path_of_key[-1]] = value
            kind = f"{'.'.join(map(str, path_of_key))}: {'removed' if value is paths_of_keys else repr(value)}"
            yield Damage(file, kind, lambda path, changed=changed: path.write_text(write(changed)))


def paths_of_keys(content: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every key and index."""
    keys = content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield (key,)
        yield from ((key, *below) for below in paths_of_keys(content[key]))


def damaged_arrays(file: Path) -> Iterator[Damage]:
    """Yield damages that remove or rename each array of a file, or give it invalid values."""
    with np.load(file) as loaded:
        arrays = dict(loaded)
    yield Damage(file, "one array", lambda path: path.write_bytes(npy(path)))
    for name, values in arrays.items():
        rest = {key: other for key, other in arrays.items() if key != name}
        changes = {
            "removed": rest,
            "renamed": rest | {f"{name}_other": values},
            "shorter": rest | {name: values[:-1]},
            "longer": rest | {name: np.concatenate([values, values[:1]])},
            "empty": rest | {name: values[:0]},
            "a number": rest | {name: np.array(3)},
            "deeper": rest | {name: values[None]},
            "strings": rest | {name: values.astype(str)},
            "NaN": rest | {name: np.full(values.shape, np.nan)},
            "zero": rest | {name: np.zeros_like(values)},
            "huge": rest | {name: np.full(values.shape, 2**40)},
            "negative": rest | {name: np.full(values.shape, -1)},
            "of another": rest | {name: values[::-1].copy() if name in ("uni100", "full") else np.full_like(values, 3)},
        }
        if name in EPOCHS:
            changes["of another"] = rest | {name: draw(99, 3.0, USERS)[name]}
        for kind, changed in changes.items():
            yield Damage(file, f"{name} {kind}", lambda path, changed=changed: write_arrays(path, changed))


def npy(path: Path) -> bytes:
    """Return the bytes of a file with a single array, which is not an archive."""
    plain = path.with_suffix(".npy")
    np.save(plain, np.arange(3))
    content = plain.read_bytes()
    plain.unlink()
    return content


def write_damaged(folder: Path, whole: Path, damage: Damage) -> Path:
    """Write a copy of a folder with one damage. Return the damaged file."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    file = folder / damage.file.relative_to(whole)
    damage.act(file)
    return file
