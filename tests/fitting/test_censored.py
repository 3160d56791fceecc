"""Variants of the likelihood: "at least five" successes, and a prior on the exponent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

import scaling
from scaling.core import registry
from scaling.core.objective import OBJECTIVES
from scaling.fitting import passk
from scaling.fitting.likelihood import CountLikelihood, fit_counts, maximise, one_step
from scaling.testing import count_probabilities

CENSORED = OBJECTIVES["censored-likelihood"]
LAWS = [name for name in registry.law_names() if registry.law(name).rates is not None]


def middle(law):
    return law.free(np.array([p.typical for p in law.params]).T).mean(axis=0)


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(3)
    n = rng.choice([4, 7, 12, 40], size=80)
    return passk.unique_counts(n, rng.binomial(n, 0.6 * rng.beta(0.5, 2.0, 80)))


@pytest.mark.parametrize("name", LAWS)
def test_value_equals_brute_force(name, counts):
    law = registry.law(name)
    u = middle(law)
    expected = 0.0
    for n, c, m in zip(*counts, strict=True):
        log_p = np.log(count_probabilities(law, law.bound(u), int(n)))
        expected += m * (log_p[c] if c < 5 else logsumexp(log_p[5:]))
    likelihood = CountLikelihood(law, counts, CENSORED)
    found = likelihood.log_likelihood(law, u, counts.multiplicity.astype(float))
    assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("objective", ["likelihood", "penalised-censored-likelihood"])
@pytest.mark.parametrize("name", LAWS)
def test_derivatives_are_those_of_the_value(name, objective, counts):
    law = registry.law(name)
    likelihood = CountLikelihood(law, counts, OBJECTIVES[objective])
    u, weights = middle(law), counts.multiplicity.astype(float)[None]
    _, gradient, hessian = likelihood.derivatives(u[None], weights)
    for i in range(len(u)):
        step = np.zeros_like(u)
        step[i] = 1e-4
        up, down = (likelihood.derivatives((u + s)[None], weights) for s in (step, -step))
        scale = np.abs(gradient).max()
        assert (up[0] - down[0])[0] / 2e-4 == pytest.approx(
            gradient[i, 0], rel=1e-5, abs=1e-6 * scale
        )
        difference = (up[1] - down[1])[:, 0] / 2e-4
        np.testing.assert_allclose(difference, hessian[i, :, 0], rtol=1e-5, atol=1e-6 * scale)
    slopes, bends = likelihood.each(u)
    total = weights[0] @ slopes - 2 * likelihood.prior * u
    np.testing.assert_allclose(total, gradient[:, 0], rtol=1e-9, atol=1e-9 * scale)
    bent = np.tensordot(weights[0], bends, 1) - 2 * np.diag(likelihood.prior)
    np.testing.assert_allclose(bent, hessian[:, :, 0], rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.parametrize("name", LAWS)
def test_a_limit_beyond_all_attempts_changes_nothing(name, counts):
    law = registry.law(name)
    u, weights = middle(law)[None], counts.multiplicity.astype(float)[None]
    plain = CountLikelihood(law, counts)
    far = CountLikelihood(law, counts, replace(CENSORED, censor=41))
    for a, b in zip(plain.derivatives(u, weights), far.derivatives(u, weights), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_tail_that_is_nearly_impossible_stays_finite():
    # P(c >= 5) of 10,000 attempts at rates of about 1e-9 is below what the complement resolves.
    law = registry.law("beta-binomial")
    counts = passk.unique_counts([10_000, 10_000], [0, 9])
    likelihood = CountLikelihood(law, counts, CENSORED)
    parts = likelihood.derivatives(law.free([[1.0, 1e9]]), np.ones((1, 2)))
    assert all(np.isfinite(x).all() for x in parts)


def test_easy_problems_no_longer_steer_the_tail(sweep_of):
    # Rates from Beta(.3, 5), but half of the problems with some success are made easier: the hard part is as it was.
    rng = np.random.default_rng(0)
    p = rng.beta(0.3, 5.0, 2000)
    p = np.where(p > 0.2, 0.9, p)
    sweep = sweep_of(np.full(2000, 60), rng.binomial(60, p))
    found = {
        name: scaling.fit(sweep, "beta-binomial", objective=name, interval="none").groups[0]
        for name in ("likelihood", "censored-likelihood")
    }
    errors = {k: abs(g.params["alpha"].estimate - 0.3) for k, g in found.items()}
    assert errors["censored-likelihood"] < 0.03 < errors["likelihood"]


def test_the_prior_is_the_one_that_is_stated(sweep_of):
    from scipy.optimize import minimize
    from scipy.stats import betabinom

    n, c = np.full(40, 20), np.random.default_rng(5).binomial(20, 0.4, 40)
    fit = scaling.fit(
        sweep_of(n, c), "beta-binomial", objective="penalised-likelihood", interval="none"
    )
    group = fit.groups[0]
    # One rate explains these counts, so that the plain likelihood refuses; with the prior, it decides.
    assert group.status == "ok"
    assert "prior-decides" in {x.code for x in group.cautions}
    best = minimize(
        lambda u: -betabinom.logpmf(c, n, *np.exp(u)).sum() + u[0] ** 2 / 2,
        [1.0, 1.0],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000},
    )
    np.testing.assert_allclose(group.theta, np.exp(best.x), rtol=1e-5)
    assert group.fit["loss"] == pytest.approx(best.fun, abs=1e-8)


def test_one_step_refits_are_close_to_full_ones():
    law = registry.law("zero-inflated-beta-binomial")
    rng = np.random.default_rng(6)
    n = rng.integers(50, 60, 2000)
    c = rng.binomial(n, np.where(rng.random(2000) < 0.3, 0, rng.beta(1.0, 5.0, 2000)))
    counts = passk.unique_counts(n, c)
    likelihood, u = CountLikelihood(law, counts), fit_counts(law, counts).coordinates[0]
    weights = rng.multinomial(2000, counts.multiplicity / 2000, size=50).astype(float)
    full = maximise(likelihood, weights, u).coordinates
    step = one_step(likelihood, weights, likelihood.each(u), u)
    apart = np.sqrt(((step - full) ** 2).mean(axis=0))
    assert (apart < 0.2 * full.std(axis=0)).all()
    assert (np.corrcoef(step.T, full.T).diagonal(offset=3) > 0.98).all()
