"""The planted process: its draws and probabilities follow their definition, and its optimum is the best ranking."""

from itertools import permutations

import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from adamct.errors import InputError
from datamodules.planted import PlantedLog, PlantedProcess
from tests.conftest import CONF

LAG_WEIGHTS = (0.6, 0.3, 0.1)
TASTE_SHARE = 0.4


def embedded(**changes: object) -> PlantedProcess:
    """Return the process of the embedded dataset with some values changed."""
    values = OmegaConf.load(CONF / "dataset" / "synthetic.yaml").process
    return instantiate(OmegaConf.merge(values, changes))


def small_process(num_items: int = 6, num_groups: int = 3, seed: int = 0) -> PlantedProcess:
    return PlantedProcess(
        num_items=num_items,
        num_tastes=2,
        taste_skew=0.5,
        taste_share=TASTE_SHARE,
        num_groups=num_groups,
        lag_weights=LAG_WEIGHTS,
        background_share=0.2,
        seed=seed,
    )


def next_given_state(process: PlantedProcess, state: int, history: list[int]) -> list[float]:
    """Return the defined distribution: state 0 follows the last few items, state k taste k, over unseen items."""
    padded = [0] * len(LAG_WEIGHTS) + history
    chances = [0.0]
    for item in range(1, len(process.transitions)):
        if item in history:
            chances.append(0.0)
        elif state == 0:
            lags = enumerate(LAG_WEIGHTS, 1)
            chances.append(sum(weight * float(process.transitions[padded[-lag], item]) for lag, weight in lags))
        else:
            chances.append(float(process.tastes[state - 1, item]))
    return [chance / sum(chances) for chance in chances]


def joint_with_states(process: PlantedProcess, history: list[int]) -> list[float]:
    """Return P(state, history) by the chain rule."""
    num_tastes = len(process.tastes)
    joint = [1 - TASTE_SHARE] + [TASTE_SHARE / num_tastes] * num_tastes
    for state in range(1 + num_tastes):
        for step, item in enumerate(history):
            joint[state] *= next_given_state(process, state, history[:step])[item]
    return joint


def next_given_history(process: PlantedProcess, history: list[int]) -> np.ndarray:
    joint = joint_with_states(process, history)
    given_state = [next_given_state(process, state, history) for state in range(len(joint))]
    return np.array(joint) @ np.array(given_state) / sum(joint)


@st.composite
def catalogue_and_histories(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    num_items = draw(st.integers(4, 9))
    history = st.lists(st.integers(1, num_items), max_size=num_items - 1, unique=True)
    return num_items, draw(st.lists(history, min_size=1, max_size=5))


@settings(max_examples=60, deadline=None)
@given(catalogue_and_histories(), st.integers(0, 99))
def test_probabilities_follow_the_definition(drawn: tuple[int, list[list[int]]], seed: int) -> None:
    num_items, rows = drawn
    process = small_process(num_items, seed=seed)
    offsets = np.cumsum([0, *map(len, rows)])
    items = np.array([item for row in rows for item in row], np.int32)
    probabilities = process.next_item_probabilities(items, offsets[:-1], offsets[1:])
    np.testing.assert_allclose(probabilities, [next_given_history(process, row) for row in rows], rtol=1e-9)


def test_draws_follow_the_defined_distribution() -> None:
    """Test with chi-square the number of times each kind draws each sequence of four items."""
    process, num_users = small_process(num_items=5), 150_000
    log = process.sample(num_users, min_len=4, mean_len=4.0, max_len=4)
    sequences = list(permutations(range(1, 6), 4))
    joint = np.array([joint_with_states(process, list(sequence)) for sequence in sequences])  # (sequences, states)
    expected = num_users * np.stack([joint[:, 0], joint[:, 1:].sum(axis=1)])  # (kinds, sequences)
    place = {sequence: i for i, sequence in enumerate(sequences)}
    drawn = np.array([place[tuple(row)] for row in log.items.reshape(-1, 4).tolist()])
    cells = np.bincount(log.taste_driven * len(sequences) + drawn, minlength=expected.size)
    observed = cells.reshape(expected.shape)
    chi_square, freedom = ((observed - expected) ** 2 / expected).sum(), expected.size - 1
    assert expected.sum() == pytest.approx(num_users)
    assert expected.min() > 5
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


def test_tables_are_distributions_over_items() -> None:
    process = embedded(num_items=50, num_tastes=7, num_groups=15, background_share=0.1)
    for table in (process.tastes, process.transitions):
        np.testing.assert_allclose(table.sum(axis=1), 1)
        assert (table[:, 0] == 0).all()
        assert (table[:, 1:] > 0).all()
    # Above the background, each item belongs to one taste, and three or four items may follow it.
    background = process.transitions[0]
    assert ((process.tastes > background).sum(axis=0)[1:] == 1).all()
    assert set((process.transitions[1:] > background).sum(axis=1)) == {3, 4}


def test_the_log_depends_on_the_seed_alone() -> None:
    process = small_process(seed=3)
    first = process.sample(200, 2, 3.0, 5)
    for again in (process.sample(200, 2, 3.0, 5), small_process(seed=3).sample(200, 2, 3.0, 5)):
        assert [array.tobytes() for array in again] == [array.tobytes() for array in first]
    assert first.items.tobytes() != small_process(seed=4).sample(200, 2, 3.0, 5).items.tobytes()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_log_may_have_users_of_one_kind(share: float) -> None:
    process = embedded(num_items=20, num_tastes=2, num_groups=5, taste_share=share)
    log = process.sample(30, max_len=15)
    assert (log.taste_driven == bool(share)).all()
    probabilities = process.next_item_probabilities(log.items, log.offsets[:-1], log.offsets[1:] - 1)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_impossible_sizes_are_errors() -> None:
    with pytest.raises(InputError, match="num_groups=9: must be at most num_items=6"):
        small_process(num_items=6, num_groups=9)
    with pytest.raises(InputError, match=r"max_len=30: must be in 8\.\.6"):
        small_process(num_items=6).sample(10)


class Default:
    """The embedded dataset, padded, with scores and ranks of its test items."""

    def __init__(self) -> None:
        self.process = embedded()
        self.log: PlantedLog = self.process.sample(4000)
        self.ends = self.log.offsets[1:] - 1  # of the test histories
        self.users = np.arange(len(self.ends))
        self.lengths = np.diff(self.log.offsets)
        steps = np.arange(self.lengths.max())
        self.sequences = np.zeros((len(self.users), len(steps)), np.int64)
        self.sequences[steps < self.lengths[:, None]] = self.log.items
        self.target = self.log.items[self.ends]
        self.optimum = self.process.next_item_probabilities(self.log.items, self.log.offsets[:-1], self.ends)
        keys = np.random.default_rng(0).random(self.optimum.shape)
        np.put_along_axis(keys, self.sequences, 2.0, axis=1)
        keys[:, 0] = 2.0
        self.negatives = keys.argpartition(100, axis=1)[:, :100]

    def baselines(self) -> dict[str, np.ndarray]:
        """Return scores from less information: two counts, less of the history, and one kind of user alone."""
        num_items = self.optimum.shape[1]
        training = np.where(np.arange(self.sequences.shape[1]) < self.lengths[:, None] - 2, self.sequences, 0)
        popularity = np.bincount(training[training > 0], minlength=num_items).astype(float)
        followers = np.zeros((num_items, num_items))
        np.add.at(followers, (training[:, :-1], training[:, 1:]), 1)
        last = self.log.items[self.ends - 1]
        histories = self.log.items, self.log.offsets[:-1], self.ends
        return {
            "popularity": np.tile(popularity, (len(self.users), 1)),
            "first-order Markov": followers[last] + popularity / popularity.sum(),
            "last item": self.process.next_item_probabilities(self.log.items, self.ends - 1, self.ends),
            "shuffled history": sum((self._shuffled(seed) for seed in range(3)), np.zeros(())),
            "tastes": embedded(taste_share=1.0).next_item_probabilities(*histories),
            "last items": embedded(taste_share=0.0).next_item_probabilities(*histories),
        }

    def _shuffled(self, seed: int) -> np.ndarray:
        keys = np.repeat(self.users, self.lengths) + np.random.default_rng(seed).random(len(self.log.items))
        keys[self.ends] = self.users + 1
        items = self.log.items[np.argsort(keys)]
        return self.process.next_item_probabilities(items, self.log.offsets[:-1], self.ends)

    def ranks(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """Return the ranks of the targets among all unseen items and among 100 of them. Ties rank above the target."""
        unseen = scores.copy()
        np.put_along_axis(unseen, np.where(self.sequences == self.target[:, None], 0, self.sequences), -np.inf, axis=1)
        unseen[:, 0] = -np.inf
        own = unseen[self.users, self.target][:, None]
        sampled = np.take_along_axis(unseen, self.negatives, axis=1)
        return {"full": (unseen >= own).sum(axis=1), "uni100": 1 + (sampled >= own).sum(axis=1)}


def gain(ranks: np.ndarray) -> np.ndarray:
    """Return NDCG@10 of each target."""
    return np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)


@pytest.fixture(scope="module")
def default() -> Default:
    return Default()


def test_the_default_log_needs_no_filtering(default: Default) -> None:
    log, num_items = default.log, 1000
    assert log.items.dtype == np.int32
    assert log.offsets.dtype == np.int64
    assert log.items.min() == 1
    assert log.items.max() == num_items
    assert np.bincount(log.items)[1:].min() >= 5
    assert default.lengths.min() == 8
    assert default.lengths.max() <= 30
    user = np.repeat(default.users, default.lengths)
    assert len(np.unique(user * (num_items + 1) + log.items)) == len(log.items)
    assert abs(log.taste_driven.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(log.taste_driven))
    assert abs(default.lengths.mean() - 11.5) < 4 * default.lengths.std() / np.sqrt(len(default.lengths))


def test_the_optimum_is_a_distribution_over_unseen_items(default: Default) -> None:
    np.testing.assert_allclose(default.optimum.sum(axis=1), 1)
    seen = np.where(default.sequences == default.target[:, None], 0, default.sequences)
    assert (np.take_along_axis(default.optimum, seen, axis=1) == 0).all()
    starts, ends = default.log.offsets[100:200], default.ends[100:200]
    chunk = default.process.next_item_probabilities(default.log.items, starts, ends)
    np.testing.assert_allclose(chunk, default.optimum[100:200], rtol=1e-9)


def test_the_score_of_the_optimum_is_its_expectation(default: Default) -> None:
    """Targets are drawn from the probabilities, so the mean NDCG is the expected one up to chance."""
    best = -np.sort(np.partition(-default.optimum, 10, axis=1)[:, :10], axis=1)
    expected = best @ gain(np.arange(1, 11))
    scored = gain(default.ranks(default.optimum)["full"])
    assert abs((scored - expected).mean()) < 4 * (scored - expected).std() / np.sqrt(len(scored))


def test_rankers_with_less_information_stay_below_the_optimum(default: Default) -> None:
    best = {ranking: gain(ranks).mean() for ranking, ranks in default.ranks(default.optimum).items()}
    assert 0.5 < best["uni100"] < 0.75
    for name, scores in default.baselines().items():
        scored = {ranking: gain(ranks).mean() for ranking, ranks in default.ranks(scores).items()}
        assert scored["uni100"] < best["uni100"] - 0.1, name
        assert scored["full"] < best["full"] - 0.05, name
