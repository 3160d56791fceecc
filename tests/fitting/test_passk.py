"""Unbiased pass@k."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.errors import InputError
from scaling.fitting import coverage, pass_at_k
from scaling.fitting.passk import error_grid, log_grid, unique_counts


@pytest.mark.parametrize(
    ("n", "c", "k", "expected", "tolerance"),
    [
        (5, 3, 2, 0.9, 1e-15),
        (10, 0, 10, 0.0, 0),
        (10, 1, 10, 1.0, 0),
        (200, 3, 100, 0.8768844221105529, 1e-12),
        (10_000, 1, 5_000, 0.5, 1e-13),
    ],
)
def test_acceptance_values(n, c, k, expected, tolerance):
    assert abs(float(pass_at_k(n, c, k)) - expected) <= tolerance


@pytest.mark.parametrize("c", [0, 1, 10])
def test_beyond_n_there_is_no_estimate(c):
    assert np.isnan(pass_at_k(10, c, 11))


@given(st.integers(1, 60), st.data())
def test_equals_exact_binomials(n, data):
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    exact = 1 - comb(n - c, k) / comb(n, k)
    assert float(pass_at_k(n, c, k)) == pytest.approx(exact, rel=1e-12, abs=1e-14)


def test_equals_enumeration_of_subsets():
    verdicts = [1, 0, 0, 1, 0, 0, 0]
    for k in range(1, 8):
        subsets = list(combinations(verdicts, k))
        assert float(pass_at_k(7, 2, k)) == pytest.approx(
            np.mean([max(s) for s in subsets]), rel=1e-13
        )


def test_large_counts_against_exact_rationals():
    for n, c, k in [(10_000, 700, 900), (10_000, 9_000, 3), (3_700_000, 12, 100_000)]:
        exact = (
            1 - comb(n - c, k) / comb(n, k)
            if n < 1e6
            else 1 - np.exp(np.log1p(-k / (n - np.arange(c))).sum())
        )
        assert float(pass_at_k(n, c, k)) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    ("n", "c", "k"), [(10, 11, 1), (10, -1, 1), (10, np.nan, 1), (10, 3, 0), (10, 3, 2.5)]
)
def test_impossible_input_is_refused(n, c, k):
    with pytest.raises(InputError):
        pass_at_k(n, c, k)


def test_coverage_is_the_mean_over_problems_not_over_attempts():
    n, c = [100, 1], [100, 0]
    assert coverage(n, c, [1])[0] == 0.5


def test_coverage_beyond_the_fewest_attempts_is_nan():
    result = coverage([10, 4], [3, 1], [1, 4, 5])
    assert np.isfinite(result[:2]).all()
    assert np.isnan(result[2])


def test_coverage_needs_a_problem():
    with pytest.raises(InputError, match="at least one problem"):
        coverage([], [], [1])


@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1)), min_size=1, max_size=40))
def test_unique_counts_lose_nothing(rows):
    n = np.array([r[0] for r in rows])
    c = np.floor(n * np.array([r[1] for r in rows])).astype(int)
    counts = unique_counts(n, c)
    rebuilt = sorted(
        (int(a), int(b)) for a, b, m in zip(*counts, strict=True) for _ in range(int(m))
    )
    assert rebuilt == sorted(zip(n.tolist(), c.tolist(), strict=True))
    keys = counts.n * 1000 + counts.c
    assert (np.diff(keys) > 0).all()


def test_grids():
    # 19 distinct points of 20 up to 10,000 (spec of Brown et al., figure 5); the end is never lost.
    assert len(log_grid(10_000)) == 19
    assert all(log_grid(m)[-1] == m for m in range(1, 400))
    assert len(error_grid(10_000)) == 100
