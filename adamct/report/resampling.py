"""The interval and the p-value of a mean paired difference, both from the same resamples.

A resample splits the users at random into two halves. Let m be the mean of the differences, g their mean with the
signs of one half flipped, and e the mean of the signs. The paired randomisation test of a mean μ (Smucker, Allan &
Carterette, CIKM '07) counts the resamples in which ``|g - μ e| >= |m - μ|``. This holds for the μ between
``(m - g) / (1 - e)`` and ``(m + g) / (1 + e)``, which are the means of both halves and have m between them. So the μ
that are not rejected are an interval, and its ends are order statistics of the means of halves (Hartigan's typical
values, JASA 1969). The test rejects 0 exactly if the interval excludes it.

With several seeds, the difference of user u under seed s is modelled as μ + seed_s + user_u + interaction_su.
``c g + s`` then replaces g, and ``c e`` replaces e.

- s is the standard error of the mean over S seeds times Student's t with S - 1 degrees of freedom. Two to five seeds
  are too few to be resampled themselves: the percentile bootstrap of both levels rejects a true null hypothesis in up
  to 40 % of cases.
- c reduces the users' variance by the interaction, which the seeds' standard error already contains.

The variance components are those of a two-way analysis of variance. The sum of both terms is the Behrens-Fisher
distribution. It is exact if one of them vanishes, and conservative in between: a test at 5 % rejects a true null
hypothesis in at least 1 % of cases with two seeds, 2 % with three and 3 % with five. Satterthwaite's degrees of freedom
would reject it in up to 13 %, 8 % and 6 %.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from adamct.randomness import Stream, numpy_generator

LEVEL = 0.05
RESAMPLES = 9_999
"""The number of resamples. The smallest p is 1 / 10,000."""
SIGNS_AT_ONCE = 2**22
"""The number of signs in memory together: 32 MB."""
DECIMALS = 12
"""The decimals that means of halves are rounded to. Equal means may differ by the order of addition."""


class Outcome(NamedTuple):
    """The interval and the p-value of a mean difference."""

    low: float
    """The lower end of the 95 % interval."""
    high: float
    """The upper end of the interval, which holds the means that are not rejected at 5 %."""
    p: float
    """The two-sided p-value of the null hypothesis that the mean is 0."""


def resample(differences: Sequence[Float[np.ndarray, "_S U"]]) -> list[Outcome]:
    """Test the mean of each array of differences, with the same halves of the users for all.

    Args:
        differences: arrays of S seeds and U users. S may differ between them; U may not.
    """
    user_means = np.array([one.mean(0) for one in differences])  # (C, U)
    parts = [components(one) for one in differences]
    flipped, balance = random_halves(user_means)
    return [
        outcome(users.mean(), share * g + error * student_t(len(one)), share * balance)
        for one, users, g, (share, error) in zip(differences, user_means, flipped.T, parts, strict=True)
    ]


def components(differences: Float[np.ndarray, "S U"]) -> tuple[float, float]:
    """Return c, the factor of the users' standard error, and the standard error of the mean over seeds."""
    seeds, users = differences.shape
    if seeds == 1:
        return 1.0, 0.0
    user_means, seed_means = differences.mean(0), differences.mean(1)
    interaction = differences - user_means - seed_means[:, None] + differences.mean()
    mean_square = (interaction**2).sum() / ((seeds - 1) * max(users - 1, 1))
    users_mean_square = seeds * ((user_means - user_means.mean()) ** 2).sum() / max(users - 1, 1)
    share = 1 - mean_square / users_mean_square if users_mean_square > mean_square else 0.0
    return float(np.sqrt(share)), float(seed_means.std(ddof=1) / np.sqrt(seeds))


def random_halves(user_means: Float[np.ndarray, "C U"]) -> tuple[Float[np.ndarray, "R C"], Float[np.ndarray, " R"]]:
    """Return the mean of each vector with the signs of random users flipped, and the means of the signs."""
    rng = numpy_generator(0, Stream.SIGN_FLIPS)
    users = user_means.shape[1]
    table = np.vstack([user_means, np.ones(users)]).T  # (U, C + 1)
    sums = []
    rows = max(1, SIGNS_AT_ONCE // users)
    for first in range(0, RESAMPLES, rows):
        kept = rng.integers(0, 2, (min(rows, RESAMPLES - first), users), dtype=bool)
        sums.append(kept.astype(float) @ table)
    means = (2 * np.concatenate(sums) - table.sum(0)) / users
    return means[:, :-1], means[:, -1]


def student_t(seeds: int) -> Float[np.ndarray, " R"] | float:
    """Draw a deviate of the mean over seeds for each resample, in units of its standard error."""
    return numpy_generator(0, Stream.SEED_DEVIATES).standard_t(seeds - 1, RESAMPLES) if seeds > 1 else 0.0


def outcome(mean: float, g: Float[np.ndarray, " R"], e: Float[np.ndarray, " R"]) -> Outcome:
    """Return the means that the resamples do not reject, and the p-value of 0."""
    split = np.abs(e) < 1  # otherwise all users are in one half, and the resample rejects no mean
    one, other = mean - g, mean + g
    one = np.divide(one, 1 - e, out=np.full_like(g, -np.inf), where=split).round(DECIMALS)
    other = np.divide(other, 1 + e, out=np.full_like(g, np.inf), where=split).round(DECIMALS)
    low, high = np.minimum(one, other), np.maximum(one, other)
    p = (1 + int(np.count_nonzero((low <= 0) & (high >= 0)))) / (RESAMPLES + 1)
    index = round(LEVEL * (RESAMPLES + 1)) - 2  # of the first mean with p >= LEVEL
    return Outcome(float(np.partition(low, index)[index]), float(-np.partition(-high, index)[index]), p)
