"""Local exponents of coverage laws, and those of their tails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import betaln, psi

from scaling.core import registry
from scaling.errors import UsageError
from scaling.fitting.slope import effective_slope

EPL, BETA = registry.law("exponentiated-power"), registry.law("beta-binomial")


def test_effective_slope_of_the_power_law_is_its_exponent():
    found = effective_slope(EPL, [[-700.0, -0.18], [-4.0, -0.35]], [1, 3.5, 1e12])
    np.testing.assert_allclose(found, [[0.18] * 3, [0.35] * 3], rtol=1e-13)


def test_effective_slope_of_the_beta_law():
    a, b, k = 0.295507, 12.36473, np.array([1.0, 10, 100, 1e3, 1e4, 1e6])
    r = np.exp(betaln(a, b + k) - betaln(a, b))
    exact = k * r * (psi(b + k) - psi(a + b + k)) / ((1 - r) * np.log1p(-r))
    found = effective_slope(BETA, [a, b], k)
    np.testing.assert_allclose(found, exact, rtol=1e-8)
    # Pythia 12B on MATH: over most of the data the slope is not the exponent of the tail, .2955
    assert (found[1:5] > a + 0.02).all()
    assert effective_slope(BETA, [a, b], [1e12])[0] == pytest.approx(a, abs=1e-3)


def test_effective_slope_says_where_it_has_no_value():
    assert np.isnan(effective_slope(BETA, [5.0, 1.0], [1e6]))[0]  # coverage is 1
    assert effective_slope(BETA, np.ones((2, 3, 2)), [1, 2]).shape == (2, 3, 2)


def test_effective_slope_refuses():
    for k in ([0.0], [np.inf], [[1.0]]):
        with pytest.raises(UsageError, match="positive"):
            effective_slope(EPL, [-4.0, -0.35], k)
    other = replace(EPL, output=replace(EPL.output, name="accuracy"))
    with pytest.raises(UsageError, match="coverage"):
        effective_slope(other, [-4.0, -0.35], [1])
