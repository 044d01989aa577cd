"""Names of folders: different experiments have different names, and the order of overrides does not matter."""

import random

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import ListConfig

from adamct.sweeps.folders import MAX_BYTES, folder_name, job_name, override_text, sweep_name

PARSER = OverridesParser.create()
TEXTS = st.one_of(st.text(max_size=300), st.text(" _/.a,='\"\\${}", max_size=8))
"""Any text, and many with characters that names cannot have."""
VALUES = st.one_of(
    TEXTS.filter(lambda text: not set(text) & set("\x00$")).map(
        lambda text: QuotedString(text, Quote.single).with_quotes()
    ),
    st.integers().map(str),
    st.lists(st.integers(), max_size=3).map(str),
    st.sampled_from(["null", "true", "adamct", "1e-3", "0.001"]),
)
KEYS = st.sampled_from(["a", "b", "a.b", "a/b", "a_b", "a@b.c", "a@b.d"])


def named(kind: str | None, varied: list[str], *overrides: str) -> str:
    return sweep_name(kind, PARSER.parse_overrides(list(overrides)), varied)


def is_valid(name: str) -> bool:
    """Return whether a name is a visible folder's and needs no quotes in a shell."""
    legal = 0 < len(name.encode()) <= 255 and not set(name) & set("/\\\0\n'\"$ ")
    return legal and not name.startswith(".")


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, min_size=2, max_size=6, unique=True))
def test_different_texts_have_different_folders(texts: list[str]) -> None:
    names = [folder_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert all(is_valid(name) for name in names)
    assert len({*names, *map(folder_name, names)}) == len(set(texts) | set(names))  # no name is the text of another


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=2, max_size=4), st.randoms())
def test_different_jobs_have_different_folders_in_any_order(
    jobs: list[dict[str, str]], shuffler: random.Random
) -> None:
    names: dict[frozenset[str], str] = {}
    for job in jobs:
        lines = [f"{key}={value}" for key, value in job.items()]
        parsed = [override_text(override) for override in PARSER.parse_overrides(lines)]
        name = job_name(ListConfig(parsed), [])
        assert is_valid(name)
        assert names.setdefault(frozenset(parsed), name) == name
        shuffler.shuffle(parsed)
        assert job_name(ListConfig(parsed), []) == name
        assert named("table2", [], *lines) == named("table2", [], *reversed(lines))
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize(
    "name", ["model=sasrec,seed=1", "optimizer.lr=1e-05,dataset.shuffle_histories=True", "cutoffs=[1,5]", "~tuned"]
)
def test_safe_overrides_are_the_name(name: str) -> None:
    assert folder_name(name) == name


def test_unsafe_characters_and_long_names_give_a_hash() -> None:
    assert folder_name("label=a b").startswith("label=a_b-")
    assert len({folder_name(f"label={label}") for label in ("a b", "a_b", "a/b", "a.b", "'a_b'")}) == 5
    long = folder_name("label=" + "é" * 200)
    assert len(long.encode()) <= MAX_BYTES
    assert long.startswith("label=éé")


def test_sweep_name_has_what_identifies_the_sweep() -> None:
    table2, seed = "table2", ["seed"]
    plain = named(
        table2, seed, "sweep=table2", "data_dir=/a", "logger=wandb", "logger.wandb.mode=offline", "trainer=gpu"
    )
    assert plain == "table2,seed"
    assert named(table2, seed, "optimizer.lr=5e-1") == "table2,seed,optimizer.lr=0.5"
    assert named(table2, ["seed", "model"], "seed=1") == named(table2, ["model", "seed"], "seed=1")
    assert named(table2, seed, "~tuned") == "table2,seed,~tuned"
    logs = {named("basic", seed, "dataset=custom", f"dataset.path={path}") for path in ("a/b.txt", "a.b.txt", "c.txt")}
    assert len(logs) == 3
    assert named(table2, seed, "trainer.max_epochs=3") != plain


def test_job_name_leaves_out_fixed_keys() -> None:
    job = ListConfig(["seed=1", "model/gate@model.parts.local_gate=none", "model/gate@model.parts.global_gate=none"])
    fixed = ["seed", "model/gate@model.parts.global_gate"]
    assert job_name(job, fixed).startswith("model.gate@model.parts.local_gate=none-")
    assert job_name(ListConfig(["seed=1"]), fixed) == "run"
    assert job_name(ListConfig(["label='d=${model.dropout}'"]), []).startswith("label=d=model.dropout-")
