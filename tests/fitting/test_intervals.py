"""Intervals mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

import scaling
from scaling.errors import UsageError
from scaling.fitting import passk
from scaling.fitting.intervals import bca_interval, jackknife_error


def covered(fits, truth):
    inside = 0
    for fit in fits:
        low, high = fit.groups[0].params["alpha"].interval
        inside += low <= truth <= high
    return inside


def test_profile_intervals_of_alpha_cover(simulated):
    """Beta(.3, 5), 500 problems, 200 attempts, 200 fixed seeds: nominal 95% covers in 90-98%."""
    fits = (
        scaling.fit(simulated(0.3, 5.0, 500, 200, seed), "beta-binomial", interval="profile")
        for seed in range(200)
    )
    assert 180 <= covered(fits, 0.3) <= 196


def test_percentile_intervals_cover_and_errors_are_sized(simulated):
    """Nominal 95% covers in 90-98%; (estimate - truth)/SE has variance within .8-1.25 and no bias to speak of."""
    fits = [
        scaling.fit(simulated(0.3, 5.0, 500, 200, seed), "beta-binomial", replicates=200)
        for seed in range(120)
    ]
    assert 108 <= covered(fits, 0.3) <= 118
    alphas = [f.groups[0].params["alpha"] for f in fits]
    scores = [(a.estimate - 0.3) / a.se for a in alphas]
    assert 0.8 <= np.var(scores) <= 1.25
    assert abs(np.mean(scores)) < 0.3


def test_population_standard_error_is_that_of_problem_means(simulated):
    # SE of pass@1 = sd over problems / sqrt(P): problems are the clusters (Miller, arXiv 2411.00640).
    (group,) = scaling.fit(
        simulated(0.3, 5.0, 150, 100, 3), "beta-binomial", replicates=2000
    ).groups
    p = group.problems.c / group.problems.n
    assert group.derived["pass_at_1"].se == pytest.approx(p.std() / np.sqrt(150), rel=0.1)


def test_the_same_seed_gives_the_same_bytes(simulated):
    sweep = simulated(0.3, 5.0, 80, 30, 1)
    first, second = (scaling.fit(sweep, "beta-binomial", seed=7).to_json() for _ in range(2))
    assert first == second
    assert scaling.fit(sweep, "beta-binomial", seed=8).to_json() != first


def test_a_group_does_not_depend_on_its_neighbours(sweep_of):
    rng = np.random.default_rng(4)
    c = rng.binomial(30, rng.beta(0.4, 3, 120))
    level = ["easy"] * 60 + ["hard"] * 60
    both = scaling.fit(sweep_of([30] * 120, c, level=level), "beta-binomial", by=["level"])
    alone = scaling.fit(
        sweep_of([30] * 60, c[60:], level=level[60:]), "beta-binomial", by=["level"]
    )
    assert both.groups[1].params == alone.groups[0].params


def test_clusters_are_resampled_whole(sweep_of):
    # 20 families of five identical problems carry the evidence of 20, not of 100.
    rng = np.random.default_rng(9)
    c = np.repeat(rng.binomial(40, rng.beta(0.5, 3, 20)), 5)
    family = np.repeat([f"f{i}" for i in range(20)], 5).tolist()
    clustered = (
        scaling.fit(sweep_of([40] * 100, c, cluster=family), "exponentiated-power")
        .groups[0]
        .params["a"]
    )
    plain = scaling.fit(sweep_of([40] * 100, c), "exponentiated-power").groups[0].params["a"]
    assert clustered.estimate == plain.estimate
    assert clustered.se / plain.se == pytest.approx(np.sqrt(5), rel=0.2)


def test_held_out_error_is_not_smaller_by_construction(simulated):
    (group,) = scaling.fit(
        simulated(0.3, 5.0, 100, 100, 2), "beta-binomial", interval="none"
    ).groups
    assert group.fit["held_out_mae"] > group.fit["mae"] > 0


def test_resampling_counts_is_resampling_problems(simulated):
    """The multinomial over distinct counts has the moments of drawing problems with replacement."""
    sweep = simulated(0.3, 5.0, 60, 20, 6)
    (group,) = scaling.fit(sweep, "exponentiated-power", objective="cov", replicates=4000).groups
    rng = np.random.default_rng(0)
    problems = group.problems
    k = np.array([1, 5, 20])
    by_problem = []
    for _ in range(4000):
        pick = rng.integers(0, 60, 60)
        by_problem.append(passk.coverage(problems.n[pick], problems.c[pick], k))
    spread = np.std(by_problem, axis=0)
    low, high = group.band(k)
    np.testing.assert_allclose((high - low) / 3.92, spread, rtol=0.25)


def test_profile_intervals_refuse_clusters(sweep_of):
    rng = np.random.default_rng(1)
    c = rng.binomial(20, rng.beta(0.5, 3, 40))
    clustered = sweep_of([20] * 40, c, cluster=[f"f{i // 2}" for i in range(40)])
    with pytest.raises(UsageError, match="come in clusters; use --interval percentile"):
        scaling.fit(clustered, "beta-binomial", interval="profile")
    with pytest.raises(UsageError, match="the halves that bins of pass1 make"):
        scaling.fit(
            sweep_of([20] * 40, c), "beta-binomial", interval="profile", bins={"pass1": (0.3,)}
        )


@pytest.mark.parametrize("skewed", [False, True])
def test_bca_equals_scipy(skewed):
    from scipy.stats import bootstrap

    rng = np.random.default_rng(3)
    x = rng.exponential(size=40) ** 2 if skewed else rng.normal(size=40)
    found = bootstrap((x,), np.mean, n_resamples=5000, method="BCa", rng=np.random.default_rng(0))
    left_out = (x.sum() - x) / 39
    low, high = bca_interval(
        found.bootstrap_distribution, float(x.mean()), left_out, np.ones(40), 0.95
    )
    np.testing.assert_allclose([low, high], found.confidence_interval, atol=0.02 * (high - low))


def test_jackknife_error_of_a_mean_is_the_standard_error():
    x = np.random.default_rng(4).normal(size=25)
    values, times = np.unique(np.round(x, 1), return_counts=True)
    whole = np.repeat(values, times)
    left_out = (whole.sum() - values) / 24
    assert jackknife_error(left_out, times.astype(float)) == pytest.approx(
        whole.std(ddof=1) / 5, rel=1e-12
    )


@pytest.mark.parametrize("law", ["beta-binomial", "exponentiated-power"])
def test_leaving_out_is_refitting_without_each_problem(sweep_of, law):
    rng = np.random.default_rng(5)
    n, c = np.full(30, 25), rng.binomial(25, rng.beta(0.6, 3.0, 30))
    (group,) = scaling.fit(sweep_of(n, c), law, interval="jackknife").groups
    name = next(iter(group.params))
    refits = []
    for i in range(30):
        others = np.arange(30) != i
        fit = scaling.fit(sweep_of(n[others], c[others]), law, interval="none")
        refits.append(fit.groups[0].params[name].estimate)
    expected = np.sqrt(29 / 30 * ((refits - np.mean(refits)) ** 2).sum())
    assert group.params[name].se == pytest.approx(expected, rel=1e-5)
    low, high = group.params[name].interval
    assert low < group.params[name].estimate < high
    assert group.draws is None


def test_bca_and_jackknife_cover(simulated):
    """Nominal 95% covers in 90-98%, from 100 problems, where errors are skewed."""
    for interval in ("bca", "jackknife"):
        fits = [
            scaling.fit(
                simulated(0.3, 5.0, 100, 100, s), "beta-binomial", interval=interval, replicates=200
            )
            for s in range(60)
        ]
        assert 54 <= covered(fits, 0.3) <= 60


def test_jackknife_over_clusters_leaves_out_whole_ones(sweep_of):
    rng = np.random.default_rng(9)
    c = np.repeat(rng.binomial(40, rng.beta(0.5, 3, 20)), 5)
    family = np.repeat([f"f{i}" for i in range(20)], 5).tolist()
    clustered, plain = (
        scaling.fit(sweep_of([40] * 100, c, **extra), "beta-binomial", interval="jackknife")
        .groups[0]
        .params["alpha"]
        for extra in ({"cluster": family}, {})
    )
    assert clustered.se / plain.se == pytest.approx(np.sqrt(5), rel=0.15)
