"""A log whose best possible score is known: the two users of the paper's Figure 1, drawn from a stated process.

Alice follows a taste, Bob his last few items. Which of the two a user is, and which taste, is hidden; given either,
what comes next is known, so Bayes' rule gives the best ranking that any model can reach.

    taste-driven:    next ~ taste k, one of K fixed distributions, whatever the order of the history
    recency-driven:  next ~ sum over lags j of w_j transitions[item j steps ago], where padding precedes the history
    both:            cut to the items the user has not had, and renormalised: no item repeats within a user

Axes: U users, N length of the longest history, V items with the padding column, K tastes, J lags, L interactions.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Gt, Le, MinLen
from jaxtyping import Bool, Float, Int

from adamct.errors import require
from adamct.randomness import Stream, numpy_generator
from adamct.values import Checked, NonNegativeFloat, PositiveInt, Probability, Seed


class PlantedLog(NamedTuple):
    """A log of U users; the items of user u are ``items[offsets[u] : offsets[u + 1]]``, in time order."""

    items: Int[np.ndarray, " L"]
    """Item ids, int32, from 1 to num_items."""
    offsets: Int[np.ndarray, " U+1"]
    """Where each user starts, int64, and the end of the last."""
    taste_driven: Bool[np.ndarray, " U"]
    """The hidden kind: true for users who follow a taste, false for those who follow their last few items."""


class PlantedProcess(Checked):
    """The tables of the process, the logs drawn from it, and the exact distribution of the next item.

    With the values of ``conf/dataset/synthetic.yaml``, whatever reads only the last item, or the history as a set,
    stays clearly short of the optimum.

    Args:
        num_items: Items of the catalogue, ids 1 to num_items.
        num_tastes: K equally likely tastes; each is centred on its own part of the catalogue.
        taste_skew: Exponent of the Zipf profile of a taste over its part.
        taste_share: Probability that a user is taste-driven.
        num_groups: Groups of items on a hidden cycle, at most num_items; they cut across the tastes, and what follows
            an item is an item of the next group.
        lag_weights: Weight w_j of the last item, the one before it, and so on; scaled to sum to 1.
        background_share: Probability, above 0, that the next item comes from the whole catalogue instead.
        seed: Seed of the tables and of the log.
    """

    def __init__(
        self,
        num_items: PositiveInt,
        num_tastes: PositiveInt,
        taste_skew: float,
        taste_share: Probability,
        num_groups: PositiveInt,
        lag_weights: Annotated[Sequence[NonNegativeFloat], MinLen(1)],
        background_share: Annotated[float, Gt(0), Le(1)],
        seed: Seed,
    ):
        for name, parts in {"num_tastes": num_tastes, "num_groups": num_groups}.items():
            require(parts <= num_items, f"{name}={parts}: must be at most num_items={num_items}")
        self._seed = seed
        rng = numpy_generator(seed, Stream.PLANTED_TABLES)
        appeal = rng.uniform(0.5, 1.5, num_items)  # unequal, so that no two items tie in the optimum
        background = np.pad(appeal / appeal.sum(), (1, 0))
        tastes = _tastes(rng, num_items, num_tastes, taste_skew)
        transitions = _transitions(rng, appeal, num_groups)
        self.tastes = (1 - background_share) * tastes + background_share * background  # (K, V)
        self.transitions = (1 - background_share) * transitions + background_share * background  # (V, V)
        self.transitions[0] = background  # what follows padding: the start of a recency-driven user
        self.taste_share = taste_share
        weights = np.array(lag_weights, float)[::-1]  # (J,), oldest first as in a history
        self._weights = weights / weights.sum()

    def sample(self, num_users: int, min_len: int = 8, mean_len: float = 11.5, max_len: int = 30) -> PlantedLog:
        """Draw a log, the same at every call.

        Args:
            num_users: Users; the kind and the taste of each are drawn independently of its length.
            min_len: Shortest sequence.
            mean_len: Mean length before the cut at ``max_len``; the excess over ``min_len`` is geometric.
            max_len: Longest sequence, at most num_items.
        """
        num_items = len(self.transitions) - 1
        require(min_len <= max_len <= num_items, f"max_len={max_len}: must be in {min_len}..{num_items} (num_items)")
        require(mean_len >= min_len, f"mean_len={mean_len}: must be at least min_len={min_len}")
        rng = numpy_generator(self._seed, Stream.PLANTED_LOG)
        excess = rng.geometric(1 / (1 + mean_len - min_len), num_users) - 1
        lengths = np.minimum(min_len + excess, max_len)
        taste_driven = rng.random(num_users) < self.taste_share
        taste = rng.integers(len(self.tastes), size=num_users)
        lags = len(self._weights)
        drawn = np.zeros((num_users, lags + max_len), np.int32)
        for step in range(max_len):
            users = np.flatnonzero(lengths > step)
            recency_driven = ~taste_driven[users]
            chances = self.tastes[taste[users]]  # (U, V)
            chances[recency_driven] = self._after(drawn[users[recency_driven], step : step + lags])
            np.put_along_axis(chances, drawn[users], 0.0, axis=1)
            cumulative = chances.cumsum(axis=1)
            threshold = rng.random(len(users)) * cumulative[:, -1]
            drawn[users, lags + step] = (cumulative > threshold[:, None]).argmax(axis=1)
        return PlantedLog(drawn[drawn > 0], np.append(0, lengths.cumsum()), taste_driven)

    def next_item_probabilities(
        self, items: Int[np.ndarray, " L"], starts: Int[np.ndarray, " U"], ends: Int[np.ndarray, " U"]
    ) -> Float[np.ndarray, "U V"]:
        """P(next item | history) for the histories ``items[starts[u] : ends[u]]``.

        The test step of a log is ``(log.items, log.offsets[:-1], log.offsets[1:] - 1)``; cut both bounds for a chunk.
        As scores, no function of the history has higher expected Recall, NDCG or MRR, among all items or sampled ones.

        Returns:
            Rows that sum to 1, zero at the items of the history and at padding.
        """
        lengths, lags = ends - starts, len(self._weights)
        positions = starts[:, None] + np.arange(lengths.max())
        history = np.where(positions < ends[:, None], items[np.minimum(positions, len(items) - 1)], 0)  # (U, N)
        padded = np.pad(history, ((0, 0), (lags, 0)))  # (U, J+N)
        chances, unseen = self._chances(padded, history)
        log_likelihoods = np.log(chances / unseen[..., :-1], where=history > 0, out=np.zeros_like(chances)).sum(axis=-1)
        log_joint = log_likelihoods + self._log_prior()[:, None]  # (1+K, U)
        joint = np.exp(log_joint - log_joint.max(axis=0))
        unseen_now = np.take_along_axis(unseen, lengths[None, :, None], axis=2)[..., 0]
        mixture = joint / joint.sum(axis=0) / unseen_now  # P(state | history) / P(unseen | state): (1+K, U)
        recent = np.take_along_axis(padded, lengths[:, None] + np.arange(lags), axis=1)  # (U, J)
        probabilities = mixture[0, :, None] * self._after(recent) + mixture[1:].T @ self.tastes
        np.put_along_axis(probabilities, history, 0.0, axis=1)
        return probabilities

    def _after(self, recent: Int[np.ndarray, "U J"]) -> Float[np.ndarray, "U V"]:
        """What follows the J most recent items, oldest first, before the cut to unseen items."""
        return self._weights @ self.transitions[recent]

    def _log_prior(self) -> Float[np.ndarray, " states"]:
        """Log prior of the 1+K hidden states: recency-driven, then taste-driven by each taste."""
        num_tastes = len(self.tastes)
        with np.errstate(divide="ignore"):  # a log of one kind only
            return np.log(np.append(1 - self.taste_share, np.full(num_tastes, self.taste_share / num_tastes)))

    def _chances(
        self, padded: Int[np.ndarray, "U padded"], history: Int[np.ndarray, "U N"]
    ) -> tuple[Float[np.ndarray, "states U N"], Float[np.ndarray, "states U N+1"]]:
        """Per hidden state, chance before the cut: of the item at each step; of unseen items there and at the next."""
        pairs = self.transitions[padded[:, :, None], history[:, None, :]]  # (U, J+N, N)
        windows = np.lib.stride_tricks.sliding_window_view(pairs, len(self._weights), axis=1)
        at_step = windows @ self._weights  # (U, N+1, N): of item n at step t
        recency_seen = np.tril(at_step, -1).sum(axis=2)
        taste = self.tastes[:, history]
        taste_seen = np.pad(taste.cumsum(axis=2), ((0, 0), (0, 0), (1, 0)))
        chances = np.concatenate([at_step.diagonal(axis1=1, axis2=2)[None], taste])
        return chances, 1 - np.concatenate([recency_seen[None], taste_seen])


def _tastes(rng: np.random.Generator, num_items: int, num_tastes: int, skew: float) -> Float[np.ndarray, "K V"]:
    """K Zipf profiles, each over its own part of the items."""
    rank, part = np.divmod(rng.permutation(num_items), num_tastes)
    weights = np.where(part == np.arange(num_tastes)[:, None], (1.0 + rank) ** -skew, 0.0)
    return np.pad(weights / weights.sum(axis=1, keepdims=True), ((0, 0), (1, 0)))


def _transitions(
    rng: np.random.Generator, appeal: Float[np.ndarray, " items"], num_groups: int
) -> Float[np.ndarray, "V V"]:
    """What follows each item: an item of the next group, by appeal; after the last group comes the first."""
    group = rng.permutation(len(appeal)) % num_groups
    share = appeal / np.bincount(group, appeal)[group]  # of an item in its group
    follows = group == (group[:, None] + 1) % num_groups
    return np.pad(follows * share, ((1, 0), (1, 0)))
