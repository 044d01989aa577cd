"""A loaded checkpoint gives its model, or one line that says what is wrong. It never calls anything else."""

import functools
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import adamct
import adamct.models
from adamct.errors import InputError
from adamct.serving import rebuild as rebuilding
from adamct.serving.rebuild import build_node, rebuild, resolve_class
from tests.conftest import CONF, MODELS, composed
from tests.serving.checkpoints import NAMES, SPEC, checkpoint, config_of, error_line

ACT = "tests.serving.test_rebuild.Act"
acted: list[object] = []


class Act(nn.Module):
    """A module outside of adamct, which records its calls."""

    def __init__(self, *args: object, **values: object) -> None:
        acted.append((args, values))
        super().__init__()


@pytest.mark.parametrize("name", MODELS)
def test_models_are_built_as_a_run_builds_them(name: str) -> None:
    ours, expected = rebuild(config_of(name), SPEC), instantiate(composed(f"model={name}").model, _partial_=True)(SPEC)
    assert type(ours) is type(expected)
    assert repr(ours) == repr(expected)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in expected.state_dict().items()}


def test_every_class_in_the_configs_is_allowed() -> None:
    pattern = r"_target_[:=] *(\S*?adamct\.models\.\w+\.\w+|torch\.nn\.\w+)"
    files = [*(CONF / "model").rglob("*.yaml"), *(CONF / "sweep").glob("*.yaml"), *(CONF / "tuned").rglob("*.yaml")]
    targets = {target for file in files for target in re.findall(pattern, file.read_text())}
    model_targets = {
        target for file in files[: len(MODELS)] for target in re.findall(r"_target_: (\S+?)[,}\n]", file.read_text())
    }
    assert len(targets) > 20
    assert model_targets <= targets
    assert all(resolve_class(target).__name__ == target.rpartition(".")[2] for target in targets)


def test_new_model_is_loaded_without_registration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from typing import NamedTuple\n"
        "from torch import nn\n"
        "from adamct.models.base import VectorModel\n"
        "class Sizes(NamedTuple):\n    width: int\n"
        "class Mine(VectorModel):\n"
        "    def __init__(self, spec, sizes, layers):\n"
        "        super().__init__()\n"
        "        self.embedding = nn.Embedding(spec.num_items + 1, sizes.width)\n"
        "        self.layers = nn.Sequential(*(nn.Linear(*sides) for sides in layers['sides']))\n"
        "    def queries(self, batch):\n        return self.layers(self.embedding(batch.item_seq).sum(1))\n"
        "    def item_table(self):\n        return self.embedding.weight\n"
    )
    monkeypatch.setattr(adamct.models, "__path__", [*adamct.models.__path__, str(tmp_path)])
    sizes = {"_target_": "adamct.models.mine.Sizes", "width": 4}
    config = {"_target_": "adamct.models.mine.Mine", "sizes": sizes, "layers": {"sides": [[4, 3], [3, 4]]}}
    weights = {f"model.{key}": value for key, value in rebuild(config, SPEC).state_dict().items()}
    content = checkpoint() | {"state_dict": weights}
    content["identity"]["model"] = config
    torch.save(content, tmp_path / "mine.ckpt")
    (row,) = adamct.load(tmp_path / "mine.ckpt").recommend([["item-3"]], 2)
    assert len(row) == 2
    monkeypatch.undo()
    del sys.modules["adamct.models.mine"]
    assert "No module named 'adamct.models.mine'" in error_line(tmp_path, content)


FOREIGN = [
    ACT,
    "os.system",
    "setuptools._distutils.spawn.spawn",
    "builtins.print",
    "adamct.training.record.Path.write_text",
    "adamct.sweeps.folders.OmegaConf.save",
    "adamct.serving.recommender.load",
    "adamct.models.layers.initialize",
    "adamct.models.layers.torch.save",
    "adamct.models.layers.nn.Linear",
    "adamct.models.layers.F",
    "adamct.models.layers.Callable",
    "adamct.models.base.ABC",
    "adamct.models.base.nn",
    "adamct.models.sasrec.__class__",
    "adamct.models.sasrec.__loader__",
    "adamct.models.sasrec.no_such",
    "adamct.models.sasrec",
    "adamct.models.sasrec.SASRec.load_state_dict",
    "adamct.models..sasrec.SASRec",
    "adamct.models.sasrec.SASRec\n",
    ".adamct.models.sasrec.SASRec",
    "torch.nn.Linear",
    "torch.nn.init.normal_",
    "torch.nn.Identity.load_state_dict",
    "antigravity.webbrowser.open",
    "",
    "${oc.env:HOME}",
    None,
    5,
    True,
    ["adamct.models.sasrec.SASRec"],
    {"_target_": "adamct.models.sasrec.SASRec"},
]
"""Targets that must not be called; `Act` records its calls."""


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


def foreign_imports_since(modules: set[str]) -> set[str]:
    """Return the modules of foreign targets that were imported since, apart from those of models."""
    named = {str(target).rpartition(".")[0] for target in FOREIGN}
    return {name for name in named & (set(sys.modules) - modules) if not name.startswith("adamct.models.")}


@pytest.mark.parametrize("target", FOREIGN, ids=str)
def test_foreign_target_is_not_called_or_imported(target: object, tmp_path: Path) -> None:
    node, imported = {"_target_": target, "data": "x"}, set(sys.modules)
    content = checkpoint()
    for place in (node, [node], {"a": [[1, {"b": node}]]}):
        content["identity"]["model"] = config_of("nextitnet") | {"dilations": place}
        assert error_line(tmp_path, content).startswith(f"names {target!r:.80}, which is not loaded")
    content["identity"]["model"] = config_of("nextitnet") | {"_target_": target}
    assert error_line(tmp_path, content).startswith(f"names {target!r:.80}, which is not loaded")
    assert not acted
    assert not foreign_imports_since(imported)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_args_": [{"_target_": ACT}]}, "the keys ['_args_']"),
        ({"_convert_": "object"}, "the keys ['_convert_']"),
        ({"_recursive_": False}, "the keys ['_recursive_']"),
        ({"dilations": {"_partial_": True}}, "the keys ['_partial_']"),
        ({"dilations": {"_target_": "torch.nn.Identity", "_partial_": [ACT]}}, "must be true or false"),
        ({"dilations": {1: 2}}, "the keys ['1']"),
        ({"dilations": ["${oc.env:HOME}"]}, "has the interpolation '${oc.env:HOME}'"),
        ({"hidden_size": "${eval:1}"}, "has the interpolation"),
        ({"_target_": "torch.nn.Identity"}, "names Identity as its model"),
        ({"_target_": "adamct.models.base.NextItemModel"}, "TypeError"),
        ({"hidden_size": "many"}, "hidden_size=many: must be a whole number"),
        ({"hidden_size": 0}, "hidden_size=0: must be at least 1"),
        ({"activation": 5}, "TypeError"),
        ({"dilations": ENDLESS}, "RecursionError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_config_of_no_model_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = checkpoint()
    content["identity"]["model"] |= changes
    assert message in error_line(tmp_path, content)
    assert not acted


ALLOWED = [
    "adamct.models.adamct.NoHead",
    "adamct.models.adamct.Parts",
    "adamct.models.adamct.SharedInput",
    "torch.nn.Identity",
]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(0, 4), st.floats(), st.text(max_size=5), st.sampled_from(NAMES)
)
NODES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["hidden_size", "dropout", "entry", "_args_", "_partial_", 1]), inner, max_size=3
        ),
        st.builds(
            lambda target, values: {"_target_": target} | values,
            st.sampled_from([*ALLOWED * 4, *FOREIGN]),
            st.dictionaries(
                st.sampled_from(["hidden_size", "dropout", "entry", "_partial_", "_convert_"]), inner, max_size=3
            ),
        ),
    ),
    max_leaves=12,
)


def targets_in(value: Any) -> list[object]:
    """Return the targets at any depth. Not all are hashable."""
    if isinstance(value, dict):
        own = [value["_target_"]] if "_target_" in value else []
        return own + [target for key, inner in value.items() if key != "_target_" for target in targets_in(inner)]
    return [target for inner in value for target in targets_in(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("examples", [100, pytest.param(20_000, marks=pytest.mark.slow)])
def test_only_classes_of_models_are_called(examples: int) -> None:
    within = settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    within(given(NODES)(check_calls))()


def check_calls(node: Any) -> None:
    called, modules = [], set(sys.modules)

    def recorded(cls: type, **values: object) -> functools.partial[Any]:
        called.append(cls)
        return functools.partial(cls, **values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rebuilding, "partial", recorded)
        try:
            build_node(node)
        except InputError:
            pass
        except TypeError:
            assert called
        else:
            assert all(target in ALLOWED for target in targets_in(node))
    assert {f"{cls.__module__}.{cls.__name__}" for cls in called} <= {*ALLOWED[:3], "torch.nn.modules.linear.Identity"}
    assert not acted
    assert not foreign_imports_since(modules)
