"""The nonparametric distribution of success rates, and the coverage that it allows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import chdtri
from scipy.stats import binom

from scaling.core import registry
from scaling.data.distinct import UniqueCounts, unique_counts
from scaling.errors import InputError
from scaling.fitting import passk
from scaling.fitting.likelihood import fit_counts, log_binomials
from scaling.fitting.npmle import coverage_bounds, npmle

DROP = 0.5 * float(chdtri(1, 0.05))


def simulated(seed: int, n: int, problems: int, alpha: float = 0.3, beta: float = 5.0):
    rng = np.random.default_rng(seed)
    return unique_counts(
        np.full(problems, n), rng.binomial(n, rng.beta(alpha, beta, size=problems))
    )


@pytest.mark.parametrize(
    ("n", "c"),
    [
        ([3, 3, 3, 3, 3], [0, 1, 1, 3, 2]),
        ([5, 4, 2, 7, 1, 5], [0, 4, 1, 1, 0, 2]),
        ([10] * 8, [0, 0, 0, 1, 2, 9, 10, 10]),
    ],
)
def test_likelihood_is_that_of_brute_force(n, c) -> None:
    grid = np.linspace(0, 1, 1001)
    table = binom.pmf(np.array(c)[:, None], np.array(n)[:, None], grid)
    weights = np.full(len(grid), 1 / len(grid))
    for _ in range(20_000):  # EM: slow, but it cannot overshoot
        weights *= (table / (table @ weights)[:, None]).mean(axis=0)
    brute = float(np.log(table @ weights).sum())
    found = npmle(unique_counts(n, c))
    assert brute - 1e-9 <= found.log_likelihood <= brute + 2e-3
    mixture = binom.pmf(np.array(c)[:, None], np.array(n)[:, None], found.rates) @ found.weights
    assert found.log_likelihood == pytest.approx(np.log(mixture).sum(), abs=1e-9)
    # The condition of optimality, at rates that the search did not choose.
    assert (table / mixture[:, None]).sum(axis=0).max() <= len(n) + 1e-3


@pytest.mark.parametrize(
    ("n", "c", "rates", "weights"),
    [
        ([10] * 6, [5] * 6, [0.5], [1.0]),
        ([10] * 6, [0] * 6, [0.0], [1.0]),
        ([10] * 6, [10] * 6, [1.0], [1.0]),
        ([10] * 4, [0, 0, 0, 10], [0.0, 1.0], [0.75, 0.25]),
        ([7], [3], [3 / 7], [1.0]),
    ],
)
def test_distributions_that_are_known(n, c, rates, weights) -> None:
    found = npmle(unique_counts(n, c))
    np.testing.assert_allclose(found.rates, rates, atol=1e-3)
    np.testing.assert_allclose(found.weights, weights, atol=1e-6)


def test_no_law_is_likelier() -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(5, 200, 80)
    counts = unique_counts(n, rng.binomial(n, rng.beta(0.4, 3.0, 80)))
    found = npmle(counts)
    assert 0 <= found.gap <= 1e-5
    for name in ("beta-binomial", "zero-inflated-beta-binomial"):
        best = fit_counts(registry.law(name), counts).log_likelihood[0]
        assert found.log_likelihood > best + log_binomials(counts)


def test_coverage_within_the_attempts_is_the_unbiased_curve() -> None:
    counts = simulated(2, n=100, problems=200)
    k = np.array([1, 5, 20, 50])
    unbiased = passk.curve(counts, k, counts.multiplicity / 200)
    np.testing.assert_allclose(npmle(counts).coverage(k), unbiased, rtol=0.02)


def test_posterior_draws_follow_the_posterior() -> None:
    counts = simulated(3, n=20, problems=60)
    found = npmle(counts)
    posterior = found.posterior(counts.n, counts.c)
    np.testing.assert_allclose(posterior.sum(axis=1), 1.0)
    like = binom.pmf(counts.c[:, None], counts.n[:, None], found.rates) * found.weights
    np.testing.assert_allclose(posterior, like / like.sum(axis=1, keepdims=True), atol=1e-10)
    rng = np.random.default_rng(4)
    draws = found.draw_rates(np.full(20_000, 20), np.full(20_000, counts.c[1]), rng)
    assert draws.mean() == pytest.approx(posterior[1] @ found.rates, rel=0.05)


@pytest.mark.parametrize(("k", "power"), [(1, 1.0), (10, 1.0), (40, 4.0)])
def test_bounds_of_problems_never_solved_are_known(k, power) -> None:
    # E q^n >= f allows E q^k >= f for k <= n (rates 0 and 1), and >= f^(k/n) beyond (all alike).
    found = coverage_bounds(unique_counts([10] * 20, [0] * 20), [k])
    assert found.low[0] == 0.0
    assert found.high[0] == pytest.approx(1 - np.exp(-DROP / 20 * power), abs=2e-4)


@pytest.mark.parametrize("k", [2, 5, 30])
def test_bounds_are_those_of_brute_force(k) -> None:
    n, c = np.full(12, 5), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5])
    counts = unique_counts(n, c)
    found = coverage_bounds(counts, [k])
    grid = np.linspace(0, 1, 201) ** 2  # denser where k tells rates apart
    table = binom.pmf(c[:, None], n[:, None], grid)
    solved = 1 - (1 - grid) ** k
    least = npmle(counts).log_likelihood - DROP

    def extreme(sign: float) -> float:
        # Cutting planes: the log-likelihood is concave, so that every tangent is an upper bound.
        inside = np.full(201, 1 / 201)
        cuts, limits, at = [], [], inside
        for _ in range(300):
            slope = (table / (table @ at)[:, None]).sum(axis=0)
            cuts.append(-slope)
            limits.append(np.log(table @ at).sum() - slope @ at - least)
            found = linprog(-sign * solved, cuts, limits, np.ones((1, 201)), [1.0])
            at = 0.999 * np.maximum(found.x, 0) + 0.001 * inside
            if np.log(np.maximum(table @ found.x, 1e-300)).sum() > least - 1e-4:
                return float(solved @ found.x)
        raise AssertionError("no convergence")

    # The grid has fewer distributions, so that its range may only be the narrower one.
    low, high = extreme(-1.0), extreme(1.0)
    assert low - 2e-3 <= found.low[0] <= low + 2e-4
    assert high - 2e-4 <= found.high[0] <= high + 2e-3


def test_bounds_hold_the_truth_and_say_how_little_is_known_beyond() -> None:
    k = np.array([20, 400])
    truth = registry.law("beta-binomial").value([0.3, 5.0], {"samples": k})
    held, width = np.zeros(2), np.zeros(2)
    for seed in range(30):
        found = coverage_bounds(simulated(seed, n=20, problems=80), k)
        held += (found.low <= truth) & (truth <= found.high)
        width += (found.high - found.low) / 30
    assert np.all(held >= 27)  # of 30
    assert width[1] > 2 * width[0]


def test_bounds_contain_the_estimate_and_grow_with_the_level() -> None:
    counts = simulated(5, n=30, problems=50)
    k = [1, 30, 300]
    narrow, wide = (coverage_bounds(counts, k, level) for level in (0.5, 0.99))
    best = npmle(counts).coverage(k)
    assert np.all(wide.low <= narrow.low)
    assert np.all(narrow.high <= wide.high)
    assert np.all((narrow.low <= best[0:3] + 1e-4) & (best <= narrow.high + 1e-4))


def test_likelihood_of_stopped_attempts_counts_all_the_same() -> None:
    # n until the first success, c = 1: the kernel p^c (1-p)^(n-c) is that of any rule.
    counts = unique_counts([3, 1, 8, 20, 20], [1, 1, 1, 0, 0])
    found = npmle(counts)
    assert found.log_likelihood > float(
        np.log([0.1 * 0.9**2, 0.1, 0.1 * 0.9**7, 0.9**20, 0.9**20]).sum()
    )


def test_many_attempts_do_not_underflow() -> None:
    counts = simulated(6, n=10_000, problems=40)
    found = npmle(counts)
    assert np.isfinite(found.log_likelihood)
    assert found.gap <= 1e-5


@pytest.mark.parametrize(
    ("n", "c", "m"), [([], [], []), ([3], [4], [1]), ([0], [0], [1]), ([3], [1], [0])]
)
def test_counts_that_are_none_are_refused(n, c, m) -> None:
    with pytest.raises(InputError):
        npmle(UniqueCounts(*(np.array(x, dtype=np.int64) for x in (n, c, m))))


@pytest.mark.parametrize(("k", "level"), [(0.5, 0.95), (np.inf, 0.95), (1, 0.0), (1, 1.0)])
def test_bounds_refuse_what_is_out_of_range(k, level) -> None:
    with pytest.raises(InputError):
        coverage_bounds(unique_counts([3], [1]), [k], level)
