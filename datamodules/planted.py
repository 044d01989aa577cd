"""A log whose best possible score is known: the two users of the paper's Figure 1, drawn from a process.

Alice follows a taste, Bob his last few items. The kind of a user and the taste are hidden. The distribution of the
next item is known for each kind and taste, so Bayes' rule gives the best possible ranking.

    taste-driven:    next ~ taste k, one of K fixed distributions, independent of the order of the history
    recency-driven:  next ~ sum over lags j of w_j transitions[item j steps ago], where padding precedes the history
    both:            restricted to the items the user has not had, and renormalised: no item repeats within a user

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
    """The index where each user starts, int64, and the end of the last user."""
    taste_driven: Bool[np.ndarray, " U"]
    """The hidden kind: true for users who follow a taste, false for users who follow their last few items."""


class PlantedProcess(Checked):
    """A process that draws logs, with the exact distribution of the next item.

    With the values of ``conf/dataset/synthetic.yaml``, a model that reads only the last item, or the history as a set,
    scores clearly below the optimum.

    Args:
        num_items: the number of items, ids 1 to num_items.
        num_tastes: the number K of equally likely tastes. Each has its own part of the catalogue.
        taste_skew: the exponent of a taste's Zipf distribution over its part.
        taste_share: the probability that a user is taste-driven.
        num_groups: the number of item groups on a hidden cycle, at most num_items. An item is followed by an item of
            the next group. Groups are independent of tastes.
        lag_weights: the weight w_j of the last item, the one before it, and so on; scaled to sum to 1.
        background_share: the probability, above 0, that the next item is drawn from the whole catalogue instead.
        seed: the seed of the tables and of the log.
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
        appeal = rng.uniform(0.5, 1.5, num_items)  # unequal, so that items do not tie in the optimum
        background = np.pad(appeal / appeal.sum(), (1, 0))
        tastes = _tastes(rng, num_items, num_tastes, taste_skew)
        transitions = _transitions(rng, appeal, num_groups)
        self.tastes = (1 - background_share) * tastes + background_share * background  # (K, V)
        self.transitions = (1 - background_share) * transitions + background_share * background  # (V, V)
        self.transitions[0] = background  # the first item of a recency-driven user
        self.taste_share = taste_share
        weights = np.array(lag_weights, float)[::-1]  # (J,), oldest first as in a history
        self._weights = weights / weights.sum()

    def sample(self, num_users: int, min_len: int = 8, mean_len: float = 11.5, max_len: int = 30) -> PlantedLog:
        """Draw a log, the same at every call.

        Args:
            num_users: the number of users. Their kind and taste are independent of the length of their sequence.
            min_len: the length of the shortest sequence.
            mean_len: the mean length before the cut at ``max_len``. The excess over ``min_len`` is geometric.
            max_len: the length of the longest sequence, at most num_items.
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
        """Return P(next item | history) for the histories ``items[starts[u] : ends[u]]``.

        The arguments of a log's test items are ``(log.items, log.offsets[:-1], log.offsets[1:] - 1)``. As scores, the
        probabilities have the highest possible expected Recall, NDCG and MRR, among all items and sampled ones.

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
        """Return the distribution after the J most recent items, oldest first, over seen and unseen items."""
        return self._weights @ self.transitions[recent]

    def _log_prior(self) -> Float[np.ndarray, " states"]:
        """Return the log prior of the 1+K hidden states: recency-driven, then taste-driven by each taste."""
        num_tastes = len(self.tastes)
        with np.errstate(divide="ignore"):  # a prior is 0 if all users are of one kind
            return np.log(np.append(1 - self.taste_share, np.full(num_tastes, self.taste_share / num_tastes)))

    def _chances(
        self, padded: Int[np.ndarray, "U padded"], history: Int[np.ndarray, "U N"]
    ) -> tuple[Float[np.ndarray, "states U N"], Float[np.ndarray, "states U N+1"]]:
        """Return probabilities in each hidden state before the restriction to unseen items.

        The first are those of the item at each step, the second those of all unseen items at each step and the next.
        """
        pairs = self.transitions[padded[:, :, None], history[:, None, :]]  # (U, J+N, N)
        windows = np.lib.stride_tricks.sliding_window_view(pairs, len(self._weights), axis=1)
        at_step = windows @ self._weights  # (U, N+1, N): of item n at step t
        recency_seen = np.tril(at_step, -1).sum(axis=2)
        taste = self.tastes[:, history]
        taste_seen = np.pad(taste.cumsum(axis=2), ((0, 0), (0, 0), (1, 0)))
        chances = np.concatenate([at_step.diagonal(axis1=1, axis2=2)[None], taste])
        return chances, 1 - np.concatenate([recency_seen[None], taste_seen])


def _tastes(rng: np.random.Generator, num_items: int, num_tastes: int, skew: float) -> Float[np.ndarray, "K V"]:
    """Draw K Zipf distributions, each over its own part of the items."""
    rank, part = np.divmod(rng.permutation(num_items), num_tastes)
    weights = np.where(part == np.arange(num_tastes)[:, None], (1.0 + rank) ** -skew, 0.0)
    return np.pad(weights / weights.sum(axis=1, keepdims=True), ((0, 0), (1, 0)))


def _transitions(
    rng: np.random.Generator, appeal: Float[np.ndarray, " items"], num_groups: int
) -> Float[np.ndarray, "V V"]:
    """Draw the distribution after each item: over the next group, by appeal. The first group follows the last."""
    group = rng.permutation(len(appeal)) % num_groups
    share = appeal / np.bincount(group, appeal)[group]  # an item's share of its group
    follows = group == (group[:, None] + 1) % num_groups
    return np.pad(follows * share, ((1, 0), (1, 0)))
