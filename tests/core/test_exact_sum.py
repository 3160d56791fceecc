"""Sums without rounding, against fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.core.exact_sum import ExactSum, exact_sum

finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(finite, max_size=20), st.integers(0, 20))
def test_is_the_sum_of_the_fractions_however_it_is_parted(numbers, cut):
    array = np.array(numbers, dtype=np.float64)
    expected = sum(map(Fraction, numbers), Fraction(0))
    assert exact_sum(array) == expected
    parts = ExactSum()
    parts.add(array[cut:])
    parts.add(array[:cut])
    assert parts.total() == expected


def test_ends_of_the_range():
    for number in (5e-324, -5e-324, 2.0**-1022, np.finfo(np.float64).max, -1.0, 0.0):
        assert exact_sum(np.array([number])) == Fraction(number)
    assert exact_sum(np.array([1e300, 5e-324, -1e300])) == Fraction(5e-324)


def test_many_numbers_at_once():
    numbers = np.random.default_rng(0).lognormal(0, 20, 3_000_000)
    assert float(exact_sum(numbers)) == math.fsum(numbers.tolist())
