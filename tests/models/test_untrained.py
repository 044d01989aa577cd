"""Models without training: what they are fitted on, and their runs."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from hydra.utils import instantiate

import adamct
from adamct.serving.recommender import Recommender
from tests.conftest import SPARSE, TINY, Ended, composed
from tests.models.oracles import Build

KEYS = [key for key in TINY if not key.startswith("model.")]


@pytest.mark.parametrize("name", SPARSE)
def test_held_out_items_are_not_counted(name: str, build: Build) -> None:
    weights = []
    for other in (False, True):
        data = instantiate(composed(*KEYS).dataset)
        if other:
            for held_out in (data.split.validation, data.split.test):
                data.interactions.items[held_out.target_index] = 1
        weights.append(build(data.spec, f"model={name}").state_dict())
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    assert weights[0]["item_counts"].sum() > 0


@pytest.mark.parametrize("name", SPARSE)
def test_a_run_is_tested_recommends_and_is_loaded(name: str, run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run(*KEYS, f"model={name}", "stages=[fit,test,predict]", "predict.format=csv", f"hydra.run.dir={tmp_path}")
    assert ended == Ended(0, "")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["ended_by"] == "nothing to train"
    assert results["cost"]["parameters"] == 0
    if name == "markov":
        assert {key: results["metrics"][key] for key in results["references"][name]} == results["references"][name]
    data = instantiate(composed(*KEYS).dataset)
    histories = [data.interactions.items[begin:end].astype(str).tolist() for begin, end in ((0, 5), (3, 9))]
    loaded = adamct.load(tmp_path / "checkpoints" / "best.ckpt")
    built = instantiate(composed(f"model={name}").model, _partial_=True)(data.spec)
    assert loaded.recommend(histories, 60) == Recommender(built, data.item_ids, data.max_len).recommend(histories, 60)
    rows = pl.read_csv(tmp_path / "recommendations.csv", schema_overrides={"user": pl.String, "item": pl.String})
    first = data.interactions.items[: data.interactions.offsets[1]].astype(str).tolist()
    assert rows.filter(user=data.interactions.user_ids[0])["item"].to_list() == [
        item for item, _ in loaded.recommend([first])[0]
    ]
