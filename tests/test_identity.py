"""The identity of a run: it has every key that changes numbers, and no other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from adamct.identity import EXECUTION, EXTENT, PROTOCOL, SEEDS, SOURCE, WEIGHTS, as_json, differences, identity_of
from adamct.keys import flat
from adamct.runs.folder import finished_before
from tests.conftest import changed

Configure = Callable[..., DictConfig]
FACTS = {"sha256": "0" * 64, "num_items": 9, "num_users": 5, "ties_seed": None}


def plain(configure: Configure, *overrides: str, choices: tuple[str, ...] = ()) -> dict[str, Any]:
    cfg = configure("dataset=amazon", "dataset.category=Video_Games", *choices)
    cfg.output_dir = "here"
    cfg.logger = {}
    return changed(cfg, *overrides)


def identity(configure: Configure, *overrides: str) -> dict[str, Any]:
    return identity_of(plain(configure, *overrides), FACTS)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("monitor=val/full/ndcg@10", ["monitor"]),
        ("dataset.negatives.count=50", ["dataset.negatives.count", "monitor"]),
        ("dataset.negatives.exclude=target", ["dataset.negatives.exclude"]),
        ("dataset.negatives.seed=3", ["dataset.negatives.seed"]),
        ("dataset.seed=3", ["dataset.seed"]),
        ("dataset.repeats=first", ["dataset.repeats"]),
        ("dataset.min_rating=4", ["dataset.min_rating"]),
        ("dataset.min_user=3", ["dataset.min_user"]),
        ("dataset.min_item=3", ["dataset.min_item"]),
        ("dataset.columns.user=u", ["dataset.columns.user"]),
        ("dataset.ties=shuffle", ["dataset.ties"]),
        ("dataset.max_len=20", ["dataset.max_len"]),
        ("trainer.gradient_clip_val=1.0", ["trainer.gradient_clip_val"]),
        ("trainer.accumulate_grad_batches=2", ["trainer.accumulate_grad_batches"]),
        ("trainer.precision=64-true", ["trainer.precision"]),
        ("trainer.limit_train_batches=2", ["trainer.limit_train_batches"]),
        ("cutoffs=[10]", ["cutoffs"]),
        ("matmul_precision=high", ["matmul_precision"]),
        ("model.dropout=0.9", ["model.dropout"]),
        ("data_dir=elsewhere", []),
        ("dataset.path=elsewhere.csv", []),
        ("dataset.eval_batch_size=7", []),
        ("trainer.devices=2", []),
        ("trainer.max_epochs=7", []),
        ("patience=7", []),
        ("threads=2", []),
        ("label=mine", []),
        ("predict.k=3", []),
    ],
)
def test_identity_has_the_keys_that_change_numbers(override: str, named: list[str], configure: Configure) -> None:
    keys = [key for key, *_ in differences(identity(configure), identity(configure, override))]
    assert sorted(keys) == sorted(named)


def test_identity_of_a_test_run_has_its_checkpoint(configure: Configure) -> None:
    one, other = (identity(configure, "stages=[test]", f"ckpt={name}") for name in ("one", "other"))
    assert list(differences(one, other)) == [("ckpt", "one", "other")]


def test_the_most_important_difference_comes_first(configure: Configure) -> None:
    one = identity(configure)
    other = identity(configure, "model=sasrec", "seed=3", "cutoffs=[10]") | {}
    other["dataset"] |= {"sha256": "1" * 64}
    keys = [key for key, *_ in differences(one, other)]
    assert keys[:2] == ["model._target_", "dataset.sha256"]


@pytest.mark.parametrize("names", [EXECUTION, SOURCE, EXTENT, SEEDS, WEIGHTS, PROTOCOL])
def test_every_name_in_a_list_is_a_key(names: tuple[str, ...], configure: Configure) -> None:
    split = ("dataset/split=global_time", "dataset.split.validation_from=80%", "dataset.split.test_from=90%")
    keys = flat(as_json(plain(configure, choices=split))) | flat({"dataset": FACTS | {"download": None}})
    for name in names:
        assert any(key == name or key.startswith(f"{name}.") for key in keys), name


@pytest.mark.parametrize(
    ("overrides", "finished"),
    [
        ([], True),
        (["threads=2"], True),
        (["stages=[fit]"], True),
        (["stages=[fit,test,predict]"], False),
        (["trainer.max_epochs=9"], False),
        (["dataset.path=other.csv"], False),
        (["label=mine"], False),
    ],
)
def test_a_run_has_finished_if_the_config_asks_for_nothing_more(
    overrides: list[str], finished: bool, configure: Configure, tmp_path: Path
) -> None:
    config = plain(configure)  # it has numbers, the years of mirrors, as keys
    record = {"config": config, "metrics": {config["monitor"]: 0.5}}
    (tmp_path / "results.json").write_text(json.dumps(record))
    assert (finished_before(tmp_path, plain(configure, *overrides)) is not None) == finished


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"config": 1}', '{"config": {}, "metrics": {}}'])
def test_a_damaged_record_is_not_a_finished_run(text: str, configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text)
    assert finished_before(tmp_path, plain(configure)) is None
