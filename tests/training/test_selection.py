"""Each ranking is tested with the weights that its validation chose; training continues while any ranking improves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adamct.errors import InputError
from adamct.report.inputs.runs import read_run
from adamct.training.selection import Choice, Patience, choices_of
from tests.conftest import TINY, Ended, give

Run = Callable[..., Ended]
RANKINGS = ("uni20", "full", "full_unseen")
LONGER = (*TINY, "optimizer.lr=0.05", "trainer.max_epochs=6")


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def metrics_of_ranking(metrics: dict[str, float], ranking: str) -> dict[str, float]:
    """Return the test metrics of one ranking that are computed from ranks."""
    names = ("mrr", "recall", "ndcg", "coverage", "popularity", "gini")
    keys = [key for key in metrics if key.startswith(tuple(f"test/{ranking}/{name}" for name in names))]
    return {key: metrics[key] for key in keys}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        assert give(patch, *LONGER, f"hydra.run.dir={folder}").code == 0
    return folder


def test_each_ranking_has_weights_of_its_best_epoch(finished: Path) -> None:
    record = results(finished)
    assert set(record["chosen"]) == set(RANKINGS)
    for ranking, chosen in record["chosen"].items():
        key = f"val/{ranking}/ndcg@10"
        assert chosen["monitor"] == key
        assert chosen["epoch"] == 1 + int(np.argmax(record["history"][key]))
        assert record["metrics"][key] == max(record["history"][key])
        assert record["metrics"][f"val/{ranking}/mrr"] == record["history"][f"val/{ranking}/mrr"][chosen["epoch"] - 1]


def test_each_ranking_is_tested_with_its_checkpoint(finished: Path, tmp_path: Path, run: Run) -> None:
    files = dict(zip(RANKINGS, ("best.ckpt", "best_full.ckpt", "best_full_unseen.ckpt"), strict=True))
    for ranking, file in files.items():
        folder = tmp_path / ranking
        ended = run(*LONGER, "stages=[test]", f"ckpt={finished}/checkpoints/{file}", f"hydra.run.dir={folder}")
        assert ended.code == 0
        record, expected = results(folder), results(finished)
        assert metrics_of_ranking(record["metrics"], ranking) == metrics_of_ranking(expected["metrics"], ranking)
        chosen = {"monitor": None, "epoch": expected["chosen"][ranking]["epoch"]}  # what chose a file is not known
        assert record["chosen"] == dict.fromkeys(RANKINGS, chosen)
        assert (read_run(folder).ranks[ranking] == read_run(finished).ranks[ranking]).all()


@pytest.mark.slow
def test_one_checkpoint_can_test_all_rankings(finished: Path, tmp_path: Path, run: Run) -> None:
    assert run(*LONGER, "select_per_ranking=false", f"hydra.run.dir={tmp_path}").code == 0
    record = results(tmp_path)
    assert {tuple(chosen.values()) for chosen in record["chosen"].values()} == {
        ("val/uni20/ndcg@10", results(finished)["chosen"]["uni20"]["epoch"])
    }
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert metrics_of_ranking(record["metrics"], "uni20") == metrics_of_ranking(results(finished)["metrics"], "uni20")


def test_a_folder_without_a_checkpoint_is_refused(finished: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "best.ckpt").write_bytes((finished / "checkpoints" / "best.ckpt").read_bytes())
    ended = run(*LONGER, "stages=[test]", f"ckpt={tmp_path}", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 1
    assert "best_full" in ended.line


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        (["stages=[test]", "ckpt={}", "monitor=val/uni20/mrr"], "monitor=val/uni20/ndcg@10"),
        (["resume={}/best_full.ckpt"], "resume={}/last.ckpt"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (["stages=[test]", "ckpt={}", "select_per_ranking=false"], "select_per_ranking=True"),
                (["stages=[test]", "ckpt={}/best.ckpt", "dataset.negatives.count=10"], "monitor=val/uni10/ndcg@10"),
                (
                    ["resume={}/last.ckpt", "trainer.max_epochs=9", "dataset.negatives.exclude=target"],
                    "negatives.exclude=seen",
                ),
            )
        ),
    ],
    ids=["monitor", "weights only", "one choice", "other negatives", "resumed with other negatives"],
)
def test_weights_chosen_by_other_keys_are_refused(
    keys: list[str], named: str, finished: Path, tmp_path: Path, run: Run
) -> None:
    checkpoints = f"{finished}/checkpoints"
    ended = run(*LONGER, *(key.format(checkpoints) for key in keys), f"hydra.run.dir={tmp_path}")
    assert ended.code == 1
    assert named.format(checkpoints) in ended.line
    assert not (tmp_path / "checkpoints").exists()


def test_facts_of_test_items_take_few_bytes(finished: Path) -> None:
    run = read_run(finished)
    assert {*run.ranks} == {*RANKINGS}
    assert {*run.arrays["ranks.npz"]} == {"uni20", "full", "seen_above"}
    assert {run.ranks[name].dtype for name in ("uni20", "full")} == {np.dtype(np.uint8)}  # of 60 items
    assert {*run.facts} == {"target_count", "history_len"}
    assert (run.ranks["full_unseen"] <= 60 - run.facts["history_len"].astype(int)).all()


KNOWN = [f"val/{ranking}/{metric}" for ranking in RANKINGS for metric in ("mrr", "ndcg@10")]


def test_choices_follow_the_monitor() -> None:
    assert choices_of(RANKINGS, KNOWN, "val/full/mrr", True) == (
        Choice("val/full/mrr", "best.ckpt", ("full",)),
        Choice("val/uni20/mrr", "best_uni20.ckpt", ("uni20",)),
        Choice("val/full_unseen/mrr", "best_full_unseen.ckpt", ("full_unseen",)),
    )
    assert choices_of(RANKINGS, KNOWN, "val/full/mrr", False) == (Choice("val/full/mrr", "best.ckpt", RANKINGS),)
    with pytest.raises(InputError, match="monitor=val/uni7/mrr: must be one of val/uni20/mrr"):
        choices_of(RANKINGS, KNOWN, "val/uni7/mrr", True)


def stops(patience: Patience, *scores: dict[str, float]) -> list[bool]:
    """Return whether training stops after each of some validations."""
    stops = []
    for values in scores:
        patience.note(values, 0)
        stops.append(patience.exhausted)
    return stops


def test_patience_waits_for_all_of_its_metrics() -> None:
    scores = [{"a": a, "b": b} for a, b in ((0.1, 0.1), (0.0, 0.2), (0.2, 0.2), (0.2, 0.2), (0.1, 0.1), (0.3, 0.3))]
    assert stops(Patience(["a", "b"], 2), *scores) == [False, False, False, False, True, False]
    assert stops(Patience(["b"], 2), *scores) == [False, False, False, True, True, False]


def test_resumed_patience_waits_as_long() -> None:
    scores = [{"a": value} for value in (0.1, 0.2, 0.1, 0.2, 0.1)]
    for cut in range(len(scores)):
        first, second = Patience(["a"], 3), Patience(["a"], 3)
        before = stops(first, *scores[:cut])
        second.load_state_dict(first.state_dict())
        assert before + stops(second, *scores[cut:]) == [False, False, False, False, True]
