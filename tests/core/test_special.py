"""Own special functions against SciPy and mpmath."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.special import polygamma, psi

from scaling.core.special import log_beta_ratio, log_rising, rising_derivative, trigamma

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
