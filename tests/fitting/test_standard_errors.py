"""Errors of observed coverage: of the population, and of these very problems."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from scaling.core import registry
from scaling.data.evidence import Counts
from scaling.errors import InputError, UsageError
from scaling.fitting.passk import pass_at_k
from scaling.fitting.standard_errors import (
    METHODS,
    benchmark_se,
    coverage_interval,
    jackknife_se,
    population_se,
    unsolved_bound,
)


def counts_of(n, c, cluster=None, stop_rule="fixed") -> Counts:
    n, c = np.broadcast_arrays(np.asarray(n), np.asarray(c))
    names = np.arange(len(c)).astype(str)
    return Counts({}, names, names, n, c, cluster=cluster, stop_rule=stop_rule)


def beta_counts(seed: int, problems: int, n: int, alpha: float, beta: float):
    rng = np.random.default_rng(seed)
    p = rng.beta(alpha, beta, problems)
    return counts_of(n, rng.binomial(n, p)), p


def true_variance(n: int, p, k: int):
    """Var(pass@k | p) by adding up all counts."""
    c = np.arange(n + 1)
    value = pass_at_k(n, c, k)
    chance = binom.pmf(c, n, np.asarray(p)[:, None])
    return chance @ value**2 - (chance @ value) ** 2


@pytest.mark.reference
def test_reference_values(reference_data) -> None:
    packed = np.load(reference_data / "coverage" / "monkeys_pythia_math_outcomes_packed.npz")
    model = list(packed["models"]).index("Pythia 12B")
    bits = np.unpackbits(packed["bits"][model], axis=1)[:, :10_000]
    counts = counts_of(100, bits[:, :100].sum(axis=1, dtype=np.int64))
    found = coverage_interval(counts, [1, 10, 100])
    # coverage.md 5.2 and reference_ci_alloc.json (`pass@k_n100`)
    np.testing.assert_allclose(found.coverage, [0.022656, 0.152583, 0.445312], atol=5e-7)
    np.testing.assert_allclose(found.se, [0.00398, 0.021823, 0.044102], rtol=5e-4)
    # The reference takes rates from all 10,000 attempts; these are drawn given the first 100 alone. At k = 100 it
    # takes the share of problems below 1/100, which these know to about a tenth.
    oracle = np.array([0.001272, 0.007331, 0.026996])
    np.testing.assert_allclose(benchmark_se(counts, [1, 10, 100]), oracle, rtol=0.1)
    np.testing.assert_allclose(jackknife_se(counts, [1, 10]), oracle[:2], rtol=0.1)
    # With these rates, exactly (the reference is simulated).
    rates = bits.mean(axis=1)
    exact = [np.sqrt(true_variance(100, rates, k).sum()) / 128 for k in (1, 10, 100)]
    np.testing.assert_allclose(exact, oracle, rtol=0.02)


def test_population_error_is_the_spread_of_problems() -> None:
    counts, _ = beta_counts(0, problems=30, n=20, alpha=0.5, beta=3)
    f = pass_at_k(counts.n[:, None], counts.c[:, None], [1, 5])
    expected = f.std(axis=0, ddof=1) / np.sqrt(30)
    np.testing.assert_allclose(population_se(counts, [1, 5]), expected)


def test_clusters_give_the_robust_error_of_a_regression() -> None:
    import statsmodels.api as sm

    counts, _ = beta_counts(1, problems=40, n=20, alpha=0.5, beta=3)
    cluster = np.random.default_rng(2).integers(0, 9, 40)
    f = pass_at_k(counts.n, counts.c, 5)
    fit = sm.OLS(f, np.ones(40)).fit(cov_type="cluster", cov_kwds={"groups": cluster})
    mine = counts_of(counts.n, counts.c, cluster.astype(str))
    assert population_se(mine, 5)[0] == pytest.approx(float(fit.bse[0]), rel=1e-10)
    found = coverage_interval(mine, 5)
    assert found.units == len(np.unique(cluster))


def test_clusters_that_repeat_a_problem_add_no_information() -> None:
    counts, _ = beta_counts(3, problems=15, n=20, alpha=0.5, beta=3)
    copies = np.tile(counts.c, 3)
    mine = counts_of(20, copies, np.tile([f"{i:02}" for i in range(15)], 3))
    assert population_se(mine, 5)[0] == pytest.approx(population_se(counts, 5)[0])
    for method in METHODS["population"]:
        one = coverage_interval(counts, 5, method=method)
        three = coverage_interval(mine, 5, method=method)
        assert (three.low[0], three.high[0]) == pytest.approx((one.low[0], one.high[0]))


def test_jackknife_leaves_out_attempts_one_by_one() -> None:
    bits = np.random.default_rng(4).random((6, 12)) < np.array(
        [[0.0], [0.1], [0.3], [0.5], [0.9], [1.0]]
    )
    variance = 0.0
    for row in bits:
        left = np.array([pass_at_k(11, np.delete(row, i).sum(), 4) for i in range(12)])
        variance += 11 / 12 * ((left - left.mean()) ** 2).sum()
    counts = counts_of(12, bits.sum(axis=1))
    assert jackknife_se(counts, 4)[0] == pytest.approx(np.sqrt(variance) / 6)
    assert np.isnan(jackknife_se(counts, 12)[0])


@pytest.mark.parametrize("law", [None, "beta-binomial"])
def test_benchmark_error_is_that_of_new_attempts(law) -> None:
    counts, p = beta_counts(5, problems=300, n=40, alpha=0.4, beta=4)
    k = [1, 10, 40]
    truth = [np.sqrt(true_variance(40, p, x).sum()) / 300 for x in k]
    # Rates are known from 40 attempts each: to about 5% of their error over 300 problems.
    np.testing.assert_allclose(benchmark_se(counts, k, law=law), truth, rtol=0.1)


def test_benchmark_error_is_below_that_of_the_population() -> None:
    counts, _ = beta_counts(6, problems=60, n=40, alpha=0.4, beta=4)
    assert np.all(benchmark_se(counts, [1, 10, 40]) < population_se(counts, [1, 10, 40]))


def test_intervals_of_few_problems_hold_the_population() -> None:
    k = np.array([1, 10, 30])
    truth = registry.law("beta-binomial").value([0.3, 12.0], {"samples": k})
    held = {"beta": np.zeros(3), "normal": np.zeros(3)}
    for seed in range(200):
        counts, _ = beta_counts(seed, problems=20, n=30, alpha=0.3, beta=12)
        for method, hits in held.items():
            found = coverage_interval(counts, k, method=method)
            held[method] = hits + ((found.low <= truth) & (truth <= found.high))
    assert np.all(held["beta"] >= 184)  # 92% of 200
    assert held["normal"][0] < held["beta"][0] - 10  # which is why it is not the default


@pytest.mark.parametrize("rates", ["beta", "two kinds", "some impossible"])
def test_benchmark_intervals_hold_these_problems(rates) -> None:
    k, held, sets = np.array([1, 10, 30]), np.zeros(3), 50
    for seed in range(sets):
        rng = np.random.default_rng(seed)
        p = rng.beta(0.5, 2, 60)
        if rates == "two kinds":
            p = np.where(rng.random(60) < 0.5, 0.03, 0.8)
        elif rates == "some impossible":
            p = np.where(rng.random(60) < 0.4, 0.0, rng.beta(1, 6, 60))
        counts = counts_of(30, rng.binomial(30, p))
        found = coverage_interval(counts, k, estimand="benchmark", seed=seed)
        truth = (1 - (1 - p[:, None]) ** k).mean(axis=0)
        held += (found.low <= truth) & (truth <= found.high)
    # Between .88 and .98 over many sets; two kinds are the hardest, as no beta-binomial is like them.
    assert np.all(held >= 0.83 * sets)


def test_nothing_solved_leaves_an_upper_end() -> None:
    counts = counts_of([10] * 20, [0] * 20)
    population = coverage_interval(counts, [1, 10])
    np.testing.assert_allclose(population.high, 1 - 0.025 ** (1 / 20))
    benchmark = coverage_interval(counts, [1, 10], estimand="benchmark")
    # All 200 attempts failed: at equal rates p, (1-p)^200 = 5%.
    np.testing.assert_allclose(benchmark.high, 1 - 0.05 ** (np.array([1, 10]) / 200))
    assert not population.low.any()
    assert not benchmark.low.any()


def test_everything_solved_leaves_a_lower_end() -> None:
    found = coverage_interval(counts_of([10] * 20, [10] * 20), [1, 10])
    np.testing.assert_allclose(found.low, 0.025 ** (1 / 20))
    np.testing.assert_array_equal(found.high, 1.0)


def test_bound_of_failures_is_the_rule_of_three() -> None:
    assert unsolved_bound(1)[()] == pytest.approx(0.95)
    assert (1 - unsolved_bound(100)) ** 100 == pytest.approx(0.05)
    assert unsolved_bound(1e4)[()] * 1e4 == pytest.approx(3, rel=2e-3)


def test_same_seed_same_interval() -> None:
    counts, _ = beta_counts(7, problems=25, n=20, alpha=0.4, beta=4)
    for estimand, method in (("population", "bootstrap-t"), ("benchmark", "posterior")):
        one, two, other = (
            coverage_interval(counts, [1, 10], estimand=estimand, method=method, seed=s)
            for s in (1, 1, 2)
        )
        np.testing.assert_array_equal(one.low, two.low)
        assert not np.array_equal(one.low, other.low)
        assert np.all((one.low < one.coverage) & (one.coverage < one.high))


def test_a_log_stopped_at_success_is_refused() -> None:
    with pytest.raises(InputError, match="kaplan_meier"):
        coverage_interval(counts_of([3, 10, 1], [1, 0, 1], stop_rule="until_success"), 1)
    with pytest.raises(InputError, match="kaplan_meier"):
        population_se(counts_of([3, 10, 1, 10], [1, 0, 1, 0], stop_rule=None), 1)


@pytest.mark.parametrize(
    ("k", "options", "error"),
    [
        (0, {}, "whole k from 1 to 10"),
        (11, {}, "not for 11"),
        (1.5, {}, "not for 1.5"),
        (1, {"level": 1.0}, "level"),
        (1, {"estimand": "mine"}, "estimand 'mine'"),
        (1, {"method": "posterior"}, "auto, beta, normal, bootstrap-t"),
        (1, {"estimand": "benchmark", "method": "normal"}, "auto, posterior, jackknife"),
        (1, {"estimand": "benchmark", "law": "exponentiated-power"}, "count law"),
    ],
)
def test_what_cannot_be_asked(k, options, error) -> None:
    counts = counts_of([10] * 5, [0, 1, 2, 3, 9])
    with pytest.raises((InputError, UsageError), match=error):
        coverage_interval(counts, k, **options)


def test_one_problem_has_no_population() -> None:
    with pytest.raises(InputError, match="one problem"):
        coverage_interval(counts_of([10], [3]), 1)
    one = coverage_interval(counts_of([10], [3]), 1, estimand="benchmark")
    assert one.low[0] < 0.3 < one.high[0]
