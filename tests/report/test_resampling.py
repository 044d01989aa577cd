"""The tests of differences: they are calibrated under the null hypothesis, and agree with their intervals."""

from itertools import product

import numpy as np
import pytest
import scipy.stats

from adamct.report.resampling import LEVEL, RESAMPLES, Outcome, components, random_halves, resample


def rejected(outcomes: list[Outcome]) -> float:
    """Return the share of tests that reject. Each interval must exclude 0 exactly if its test rejects."""
    for low, high, p in outcomes:
        assert low <= high
        assert (p < LEVEL) == (not low <= 0 <= high)
    return float(np.mean([p < LEVEL for *_, p in outcomes]))


def one_seed(rng: np.random.Generator, users: int, zeros: float, mean: float = 0.0) -> np.ndarray:
    """Draw differences of one seed. A share of them is zero."""
    return (rng.standard_normal((1, users)) + mean) * (rng.random((1, users)) >= zeros)


def several_seeds(
    rng: np.random.Generator, seeds: int, users: int, zeros: float, seed_sd: float, interaction: float
) -> np.ndarray:
    """Draw differences of mean 0. Their seeds differ by ``seed_sd`` standard errors over users."""
    differ = rng.random(users) >= zeros
    differ[0] = True
    values = rng.standard_normal(users) + interaction * rng.standard_normal((seeds, users))
    return differ * (values + rng.standard_normal((seeds, 1)) * seed_sd / np.sqrt(differ.sum()))


def test_p_of_few_users_equals_that_of_all_flips() -> None:
    differences = np.array([0.9, -0.1, 0.4, 0.0, 0.7, 0.3, -0.2, 0.6, 0.0, 0.5])
    flips = np.array(list(product((-1, 1), repeat=len(differences))))
    exact = np.mean(np.abs(flips @ differences) >= abs(differences.sum()) - 1e-9)
    assert 0.01 < exact < 0.1
    assert resample([differences[None]])[0].p == pytest.approx(exact, abs=0.01)
    ones = np.ones(6)  # two of 64 flips are as extreme
    assert resample([ones[None]])[0].p == pytest.approx(2 / 64, abs=0.01)


def test_p_counts_the_flips_of_its_definition() -> None:
    differences = one_seed(np.random.default_rng(0), 301, 0.5, 0.1)
    flipped, _ = random_halves(differences)
    as_extreme = np.abs(flipped[:, 0]) >= abs(differences.mean()) - 1e-12
    assert resample([differences])[0].p == (1 + as_extreme.sum()) / (1 + RESAMPLES)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_the_interval_holds_the_means_not_rejected(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    differences = several_seeds(rng, seeds, 200, 0.5, 1.0, 1.0) + 0.1
    low, high, _ = resample([differences])[0]
    inside = [low + 1e-6, high - 1e-6]
    outside = [low - 1e-6, high + 1e-6]
    assert all(p >= LEVEL for *_, p in resample([differences - mean for mean in inside]))
    assert all(p < LEVEL for *_, p in resample([differences - mean for mean in outside]))


def test_one_varying_factor_gives_students_interval() -> None:
    rng = np.random.default_rng(0)
    user_means, seed_means = rng.standard_normal((1, 2000)), rng.standard_normal((4, 1))
    for differences, degrees, error in (
        (user_means, 1999, user_means.std(ddof=1) / np.sqrt(2000)),
        (np.tile(user_means, (4, 1)), 1999, user_means.std(ddof=1) / np.sqrt(2000)),
        (np.tile(seed_means, (1, 500)), 3, seed_means.std(ddof=1) / 2),
    ):
        expected = scipy.stats.t.interval(0.95, degrees, differences.mean(), error)
        low, high, _ = resample([differences])[0]
        assert (low, high) == pytest.approx(expected, abs=0.15 * error)


def test_components_equal_a_two_way_anova() -> None:
    differences = np.array([[1.0, 4.0, 1.0], [3.0, 8.0, 1.0]])
    # Means: users 2, 6, 1; seeds 2, 4; all 3. Residuals of the first seed: 0, -1, 1, and the opposite of the second.
    interaction, users = 4 / 2, 2 * (1 + 9 + 4) / 2
    share, error = components(differences)
    assert share == pytest.approx(np.sqrt(1 - interaction / users))
    assert error == pytest.approx(np.sqrt(2) / np.sqrt(2))
    assert components(differences[:1]) == (1.0, 0.0)
    assert components(np.array([[1.0, -1.0], [-1.0, 1.0]]))[0] == 0.0  # nothing but interaction


def test_no_difference_is_not_rejected() -> None:
    for seeds in (1, 3):
        assert resample([np.zeros((seeds, 50))]) == [(0.0, 0.0, 1.0)]
    assert resample([np.full((1, 50), 0.25)]) == [(0.25, 0.25, 1 / (RESAMPLES + 1))]
    low, high, p = resample([np.array([[0.5, 0.25]])])[0]
    assert (low, high, p > 0.4) == (-np.inf, np.inf, True)  # two users decide nothing


def test_outcomes_do_not_depend_on_other_tests() -> None:
    rng = np.random.default_rng(0)
    several = [several_seeds(rng, seeds, 100, 0.2, 1.0, 1.0) for seeds in (1, 2, 3)]
    assert resample(several) == [pytest.approx(resample([one])[0]) for one in several]


def test_a_true_null_is_rejected_at_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamct.report.resampling.RESAMPLES", 999)
    rng = np.random.default_rng(0)
    assert 0.02 <= rejected(resample([one_seed(rng, 300, 0.9) for _ in range(300)])) <= 0.085
    assert rejected(resample([several_seeds(rng, 3, 300, 0.9, 3.0, 1.0) for _ in range(300)])) <= 0.085


@pytest.mark.slow
@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.9, 0.98])
def test_one_seed_is_calibrated(zeros: float) -> None:
    rng = np.random.default_rng(int(100 * zeros))
    assert 0.035 <= rejected(resample([one_seed(rng, 1000, zeros) for _ in range(2000)])) <= 0.065


@pytest.mark.slow
@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(
    ("seed_sd", "interaction", "least"),
    [(0.0, 0.0, 0.03), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (100.0, 0.0, 0.03), (100.0, 1.0, 0.03)],
)
def test_several_seeds_are_calibrated(
    monkeypatch: pytest.MonkeyPatch, zeros: float, seeds: int, seed_sd: float, interaction: float, least: float
) -> None:
    """The test is exact if only users or only seeds vary. In between it is conservative, most with two seeds."""
    monkeypatch.setattr("adamct.report.resampling.RESAMPLES", 1999)
    rng = np.random.default_rng(seeds)
    tests = [several_seeds(rng, seeds, 1000, zeros, seed_sd, interaction) for _ in range(1000)]
    share = rejected(resample(tests))
    assert (least if zeros < 0.98 else 0.0) <= share <= 0.07


def test_the_power_equals_pratts_signed_rank_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamct.report.resampling.RESAMPLES", 999)
    rng = np.random.default_rng(0)
    tests = [one_seed(rng, 2000, 0.9, 0.24) for _ in range(150)]
    pratt = [scipy.stats.wilcoxon(test[0], zero_method="pratt").pvalue for test in tests]  # pyright: ignore[reportAttributeAccessIssue]
    power = rejected(resample(tests))
    assert power >= np.mean(np.array(pratt) < LEVEL) - 0.02
    assert power > 0.8
