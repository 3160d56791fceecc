"""Own special functions against SciPy and mpmath."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.special import polygamma, psi

from scaling.core.special import (
    gamma_derivative,
    log_beta_ratio,
    log_choose,
    log_gamma,
    log_if_zero,
    log_rising,
    log_scaled_beta_moment,
    log_sigmoid,
    rising_derivative,
    trigamma,
)

mpmath.mp.dps = 60


@pytest.mark.parametrize("x", [1e-6, 0.03, 1.0, 23.999, 24.0, 37.5, 1e4, 1e8])
@pytest.mark.parametrize("n", [0, 1, 7, 10_000, 3_700_000])
def test_log_rising_against_mpmath(x, n):
    exact = float(mpmath.loggamma(mpmath.mpf(x) + n) - mpmath.loggamma(mpmath.mpf(x)))
    assert log_rising(x, n) == pytest.approx(exact, rel=2e-15, abs=2e-14)


def test_log_rising_keeps_what_gammaln_loses():
    # x (x+1) ... (x+9) / x^10 at x = 1e12: the difference of log-gammas cannot see the excess.
    excess = float(log_rising(1e12, 10) - 10 * np.log(1e12))
    assert excess == pytest.approx(45e-12, abs=1e-13 * 276)


def test_log_rising_broadcasts_over_small_and_large():
    x = np.array([[0.5], [100.0]])
    n = np.array([1.0, 2.0, 3.0])
    expected = np.log([[0.5, 0.75, 1.875], [100, 10_100, 1_030_200]])
    np.testing.assert_allclose(log_rising(x, n), expected, rtol=1e-14)


def test_trigamma_against_scipy():
    x = np.geomspace(1e-6, 1e9, 3_001)
    np.testing.assert_allclose(trigamma(x), polygamma(1, x), rtol=5e-14)


def test_trigamma_leaves_its_argument_alone():
    x = np.array([0.1, 5.0, 50.0])
    trigamma(x)
    np.testing.assert_array_equal(x, [0.1, 5.0, 50.0])


def test_derivatives_of_log_rising():
    x, n = np.array([0.2, 3.0, 80.0]), np.array([4.0, 0.0, 1000.0])
    np.testing.assert_allclose(rising_derivative(1, x, n), psi(x + n) - psi(x), rtol=1e-13)
    expected = polygamma(1, x + n) - polygamma(1, x)
    np.testing.assert_allclose(rising_derivative(2, x, n), expected, rtol=1e-12, atol=1e-16)
    with pytest.raises(ValueError, match="order 3"):
        rising_derivative(3, x, n)


@pytest.mark.parametrize(("a", "b"), [(0.065, 100.08), (0.2955, 12.36), (5.0, 0.3), (1e8, 9e8)])
@pytest.mark.parametrize("k", [1, 37, 10_000, 10**9, 10**15])
def test_log_beta_ratio_against_mpmath(a, b, k):
    exact = mpmath.log(
        mpmath.beta(mpmath.mpf(a), mpmath.mpf(b) + k) / mpmath.beta(mpmath.mpf(a), mpmath.mpf(b))
    )
    assert log_beta_ratio(a, b, k) == pytest.approx(float(exact), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("x", [24.0, 1e3, 1e9])
@pytest.mark.parametrize("n", [0, 1, 10_000])
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_log_rising_keep_their_digits_far_out(order, x, n):
    exact = mpmath.psi(order - 1, mpmath.mpf(x) + n) - mpmath.psi(order - 1, mpmath.mpf(x))
    assert rising_derivative(order, x, n) == pytest.approx(float(exact), rel=1e-14, abs=0)


def test_log_choose_against_mpmath():
    rng = np.random.default_rng(0)
    for n in np.unique(np.geomspace(1, 1e6, 40).astype(int)):
        for k in {0, int(n), int(n) // 2, int(rng.integers(0, n + 1)), min(int(n), 30)}:
            exact = float(mpmath.log(mpmath.binomial(int(n), k)))
            assert log_choose(n, k) == pytest.approx(exact, rel=1e-14, abs=1e-14)


def scaled_beta(alpha, beta, s, n, c):
    a, b, s = (mpmath.mpf(float(x)) for x in (alpha, beta, s))
    ratio = mpmath.beta(a + c, b) / mpmath.beta(a, b)
    series = mpmath.hyp2f1(c - n, a + c, a + b + c, s, maxprec=100_000)
    return float(mpmath.log(s**c * ratio * series))


def test_scaled_beta_moments_against_mpmath():
    """Wide parameters, scales near one among them; one call for all cells, in blocks."""
    rng = np.random.default_rng(1)
    size = 150
    n = np.floor(10 ** rng.uniform(0, 4, size))
    alpha, beta = 10 ** rng.uniform(-3, 2, size), 10 ** rng.uniform(-3, 3, size)
    s = np.where(
        rng.random(size) < 0.8, 10 ** rng.uniform(-3, 0, size), 1 - 10 ** rng.uniform(-12, -1, size)
    )
    s[:5] = 1.0
    seen = rng.binomial(n.astype(int), s * rng.beta(alpha, beta))
    c = np.where(rng.random(size) < 0.7, seen, np.floor(rng.random(size) * (n + 1)))
    found = log_scaled_beta_moment(alpha, beta, s, n, c)
    exact = [scaled_beta(*x, int(m), int(k)) for *x, m, k in zip(alpha, beta, s, n, c, strict=True)]
    np.testing.assert_allclose(found, exact, rtol=2e-12, atol=2e-12)


def test_scaled_beta_of_scale_one_is_the_beta():
    n, c = np.array([1.0, 10.0, 500.0]), np.array([[0.0], [1.0]])
    expected = log_rising(0.4, c) + log_rising(3.0, n - c) - log_rising(3.4, n)
    np.testing.assert_allclose(log_scaled_beta_moment(0.4, 3.0, 1.0, n, c), expected, rtol=1e-13)


def test_small_functions_against_scipy():
    x = np.array([-800.0, -40.0, -1.0, 0.0, 2.0, 700.0])
    np.testing.assert_allclose(log_sigmoid(x), -np.logaddexp(0.0, -x), rtol=1e-15)
    y = np.geomspace(1e-3, 1e6, 40)
    np.testing.assert_allclose(gamma_derivative(1, y), psi(y), rtol=1e-13)
    np.testing.assert_allclose(gamma_derivative(2, y), polygamma(1, y), rtol=1e-13)
    assert log_gamma(5.0) == pytest.approx(np.log(24.0))
    assert log_if_zero(np.array([0.0, 3.0])).tolist() == [0.0, -np.inf]
