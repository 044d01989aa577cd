"""Recommendations of a model in memory, against scores by hand."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adamct.batch import Batch, DataSpec
from adamct.errors import InputError
from adamct.evaluation.ranking import BYTES_AT_ONCE
from adamct.models.base import VectorModel
from adamct.serving.recommender import Recommender
from tests.conftest import Largest

ITEMS = 30
SPEC = DataSpec(num_items=ITEMS, num_users=8, max_len=6, item_counts=torch.arange(ITEMS + 1.0))
NAMES = [f"item-{number}" for number in range(1, ITEMS + 1)]
HISTORIES = [["item-3"], ["item-5", "item-1", "item-9", "item-9"], [f"item-{n}" for n in range(1, 12)]]


@torch.no_grad()
def by_hand(model: Any, history: Sequence[str], k: int, unseen: bool, user: int = 0) -> list[tuple[str, float]]:
    """Recommend after one history, with one score at a time."""
    numbers = [NAMES.index(item) + 1 for item in history]
    recent = numbers[-SPEC.max_len :]
    width = SPEC.max_len if model.pad_to_max_len else len(recent)
    item_seq = torch.tensor([recent + [0] * (width - len(recent))])
    query = model.queries(Batch(torch.tensor([user]), item_seq, torch.tensor([len(recent)]), torch.tensor([0])))[0]
    bias = model.item_bias()
    scored = [
        (NAMES[number - 1], float(query @ vector) + (0.0 if bias is None else float(bias[number])))
        for number, vector in enumerate(model.item_table())
        if number and not (unseen and number in numbers)
    ]
    return sorted(scored, key=lambda pair: -pair[1])[:k]


@pytest.mark.parametrize("unseen", [True, False])
@pytest.mark.parametrize("name", ["adamct", "adamct_paper", "sasrec", "bert4rec", "core", "sine"])
def test_recommendations_are_the_highest_scores(name: str, unseen: bool, build: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    model = build(SPEC, f"model={name}")
    rows = Recommender(model, NAMES, SPEC.max_len).recommend(HISTORIES, 7, unseen)
    assert not model.training
    for history, row in zip(HISTORIES, rows, strict=True):
        expected = by_hand(model, history, 7, unseen)
        assert [item for item, _ in row] == [item for item, _ in expected]
        assert [score for _, score in row] == pytest.approx([score for _, score in expected], abs=1e-5)


@pytest.mark.parametrize("unseen", [True, False])
@pytest.mark.parametrize("scores", [1, 64])
def test_chunks_do_not_change_recommendations(
    scores: int, unseen: bool, build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = Recommender(build(SPEC), NAMES, SPEC.max_len)
    expected = recommender.recommend(HISTORIES, 5, unseen)
    monkeypatch.setitem(BYTES_AT_ONCE, "cpu", 4 * scores)
    for row, expected_row in zip(recommender.recommend(HISTORIES, 5, unseen), expected, strict=True):
        assert [item for item, _ in row] == [item for item, _ in expected_row]
        assert [score for _, score in row] == pytest.approx([score for _, score in expected_row], abs=1e-6)


class Fixed(VectorModel):
    """A model whose query is a random vector for each user, whatever the history."""

    table: Tensor

    def __init__(self, num_items: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("table", torch.randn(num_items + 1, 16, generator=generator))
        self.vectors = torch.randn(64, 16, generator=generator)

    def queries(self, batch: Batch) -> Tensor:
        return self.vectors[batch.user]

    def item_table(self) -> Tensor:
        return self.table


def test_half_a_million_items_need_bounded_memory() -> None:
    model, people = Fixed(500_000), np.arange(64)
    recommender = Recommender(model, [str(number) for number in range(1, 500_001)], 5)
    scores = model.vectors @ model.table.T
    scores[:, 0] = -torch.inf
    seen = scores.argmax(1)  # the best item is in the history, and not recommended
    scores[people, seen] = -torch.inf
    expected, numbers = scores.topk(20)
    with Largest(model.table) as largest:
        items, best = recommender.top(seen.numpy(), np.arange(65), people, k=20, unseen=True)
    assert largest.bytes <= BYTES_AT_ONCE["cpu"]
    assert items.equal(numbers)
    torch.testing.assert_close(best, expected)


def test_lists_end_when_no_item_is_left(build: Callable[..., Any]) -> None:
    recommender = Recommender(build(SPEC), NAMES, SPEC.max_len)
    (row,) = recommender.recommend([NAMES[:-2]], 10)
    assert {item for item, _ in row} == set(NAMES[-2:])
    assert recommender.recommend([]) == []


def test_unknown_items_are_ignored(build: Callable[..., Any]) -> None:
    recommender = Recommender(build(SPEC), NAMES, SPEC.max_len)
    known, mixed = recommender.recommend([["item-3", "item-4"], ["item-3", "new", "item-4"]])
    assert known == mixed
    unknown, second, empty = recommender.recommend([["new", "newer"], ["item-3", "item-4"], []])
    assert (unknown, empty) == ([], [])
    assert [item for item, _ in second] == [item for item, _ in known]
    with pytest.raises(InputError, match=r"histories=\[\['new', 'newer'\], \[\]\]: must have an item"):
        recommender.recommend([["new", "newer"], []])


@pytest.mark.parametrize(
    ("histories", "options", "message"),
    [
        (["77", "7"], {}, r"histories\[0\]='77': must be a list of item ids"),
        ("77", {}, r"histories\[0\]='7': must be"),
        ([["7"], b"77"], {}, r"histories\[1\]=b'77': must be"),
        ([[7, 77]], {}, r"histories\[0\]=\[7, 77\]: must be"),
        ([["7", None]], {}, r"histories\[0\]=\['7', None\]: must be"),
        ([7], {}, r"histories\[0\]=7: must be"),
        ({"ann": ["7"]}, {}, r"histories\[0\]='ann': must be"),
        ([["7"]], {"k": 0}, "k=0: must be"),
        ([["7"]], {"k": 1.5}, r"k=1\.5: must be"),
        ([["7"]], {"k": "3"}, "k='3': must be"),
        ([["7"]], {"unseen": "no"}, "unseen='no': must be"),
    ],
    ids=repr,
)
def test_invalid_arguments_are_named(
    histories: Any, options: dict[str, Any], message: str, build: Callable[..., Any]
) -> None:
    recommender = Recommender(build(SPEC), [str(number) for number in range(1, ITEMS + 1)], SPEC.max_len)
    for function in ("recommend", "look_up", "top"):  # without the type checks of the tests
        method = inspect.unwrap(getattr(Recommender, function))
        setattr(recommender, function, method.__get__(recommender))
    with pytest.raises(InputError, match=message):
        recommender.recommend(histories, **options)


def test_model_of_known_users_refuses_other_people(build: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="HGN can recommend only to the users"):
        Recommender(build(SPEC, "model=hgn"), NAMES, SPEC.max_len).recommend([["item-3"]])
