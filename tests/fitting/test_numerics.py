"""The batched optimisers against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy.stats import betabinom

from scaling.core import registry
from scaling.fitting import passk
from scaling.fitting.identification import limits
from scaling.fitting.least_squares import least_squares, solve_small
from scaling.fitting.likelihood import (
    CountLikelihood,
    fit_counts,
    log_binomials,
    maximise,
    profile_interval,
)

EPL = registry.law("exponentiated-power")
BB = registry.law("beta-binomial")


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(5)
    n = rng.choice([40, 100], size=90)
    return passk.unique_counts(n, rng.binomial(n, rng.beta(0.4, 4.0, 90)))


def log_likelihood(counts, alpha, beta, weights=None):
    weights = counts.multiplicity if weights is None else weights
    return float(weights @ betabinom.logpmf(counts.c, counts.n, alpha, beta))


def test_solve_small_is_a_solver():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 4, 10))
    a = np.einsum("ikr,jkr->ijr", a, a) + np.eye(4)[:, :, None]
    b = rng.normal(size=(4, 10))
    found = solve_small(a, b)
    for r in range(10):
        np.testing.assert_allclose(found[:, r], np.linalg.solve(a[:, :, r], b[:, r]), rtol=1e-9)


@pytest.mark.parametrize("objective", ["logcov", "cov", "loglog"])
def test_least_squares_equals_curve_fit(objective):
    rng = np.random.default_rng(1)
    k = passk.log_grid(1000).astype(float)
    truth = np.column_stack([-np.exp(rng.normal(1.2, 0.3, 30)), -rng.uniform(0.15, 0.5, 30)])
    curves = np.clip(
        EPL.value(truth, {"samples": k}) * np.exp(rng.normal(0, 0.02, (30, len(k)))), 0, 0.999
    )
    link = {
        "logcov": (np.log, lambda k, a, b: a * k**b),
        "cov": (lambda c: c, lambda k, a, b: np.exp(a * k**b)),
        "loglog": (lambda c: np.log(-np.log(c)), lambda k, a, b: np.log(-a) + b * np.log(k)),
    }[objective]
    model = EPL.linked(EPL.objective(objective))
    found = least_squares(model, [k], link[0](curves), EPL.free([-3.0, -0.3]))
    assert found.converged.all()
    for row, curve in zip(EPL.bound(found.coordinates), curves, strict=True):
        expected, _ = optimize.curve_fit(
            link[1], k, link[0](curve), p0=[-3.0, -0.3], xtol=1e-12, ftol=1e-12
        )
        np.testing.assert_allclose(row, expected, rtol=2e-6)


def test_least_squares_reports_what_did_not_settle():
    k = passk.log_grid(1000).astype(float)
    model = EPL.linked(EPL.objective("cov"))
    found = least_squares(
        model,
        [k],
        EPL.value([-5.0, -0.3], {"samples": k})[None],
        EPL.free([-1, -0.9]),
        iterations=2,
    )
    assert not found.converged[0]


def test_likelihood_equals_scipy(counts):
    likelihood = CountLikelihood(BB, counts)
    weights = counts.multiplicity.astype(float)[None]
    for alpha, beta in [(0.05, 1.0), (0.3, 5.0), (2.0, 300.0)]:
        value = likelihood.value(BB.free([[alpha, beta]]), weights)[0] + log_binomials(counts)
        assert value == pytest.approx(log_likelihood(counts, alpha, beta), rel=1e-11)


def test_newton_equals_scipy_on_every_resample(counts):
    rng = np.random.default_rng(2)
    weights = rng.multinomial(90, counts.multiplicity / 90, size=12).astype(float)
    best = fit_counts(BB, counts)
    found = maximise(CountLikelihood(BB, counts), weights, best.coordinates[0])
    assert found.converged.all()
    for row, w in zip(found.coordinates, weights, strict=True):
        start = best.coordinates[0]
        expected = optimize.minimize(
            lambda u, w=w: -log_likelihood(counts, *np.exp(u), w),
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000},
        )
        np.testing.assert_allclose(row, expected.x, atol=2e-6)


def test_all_starts_lead_to_one_maximum(counts):
    weights = np.broadcast_to(counts.multiplicity.astype(float), (25, len(counts.n)))
    starts = np.random.default_rng(3).uniform(-5, 5, (25, 2))
    found = maximise(CountLikelihood(BB, counts), weights, starts)
    best = found.coordinates[np.argmax(found.log_likelihood)]
    np.testing.assert_allclose(found.coordinates, np.tile(best, (25, 1)), atol=1e-6)


def test_limits_are_the_limits_of_the_likelihood():
    counts = passk.unique_counts([10, 10, 10, 10], [0, 10, 0, 10])
    likelihood = CountLikelihood(BB, counts)
    w = counts.multiplicity.astype(float)[None]
    homogeneous, all_or_nothing = (limit.log_likelihood for limit in limits(BB, counts))
    assert likelihood.value(BB.free([[1e9, 1e9]]), w)[0] == pytest.approx(homogeneous, abs=1e-5)
    assert likelihood.value(BB.free([[1e-9, 1e-9]]), w)[0] == pytest.approx(
        all_or_nothing, abs=1e-6
    )
    assert limits(BB, passk.unique_counts([10, 10], [3, 10]))[1].log_likelihood == -np.inf


def test_likelihood_never_exceeds_its_supremum_near_the_homogeneous_limit():
    # A difference of log-gammas gains or loses 1e-5 here.
    counts = passk.unique_counts([10] * 6, [4, 5, 6, 5, 4, 5])
    likelihood = CountLikelihood(BB, counts)
    mean = 29 / 60
    size = np.geomspace(1e5, 1e9, 40)
    values = likelihood.value(
        BB.free(np.column_stack([size * mean, size * (1 - mean)])),
        np.broadcast_to(counts.multiplicity.astype(float), (40, len(counts.n))),
    )
    homogeneous = limits(BB, counts)[0].log_likelihood
    assert (values <= homogeneous + 1e-9).all()
    assert values[-1] == pytest.approx(homogeneous, abs=1e-6)


def test_profile_interval_by_definition(counts):
    best = fit_counts(BB, counts)
    weights = counts.multiplicity.astype(float)
    ends = np.exp(profile_interval(CountLikelihood(BB, counts), weights, best, 0.95))
    top = log_likelihood(counts, *np.exp(best.coordinates[0]))
    for i in range(2):
        for end in ends[i]:

            def negative(u, i=i, end=end):
                theta = [end, np.exp(u)] if i == 0 else [np.exp(u), end]
                return -log_likelihood(counts, *theta)

            profile = -optimize.minimize_scalar(negative, bracket=(-1, 2)).fun
            assert top - profile == pytest.approx(3.841458820694124 / 2, abs=1e-5)


def test_profile_interval_is_open_where_the_data_do_not_limit():
    # Four problems, barely told apart: alpha has no upper end.
    counts = passk.unique_counts([10] * 4, [2, 5, 8, 3])
    best = fit_counts(BB, counts)
    ends = profile_interval(
        CountLikelihood(BB, counts), counts.multiplicity.astype(float), best, 0.95
    )
    assert np.isfinite(ends[0, 0])
    assert ends[0, 1] == np.inf
