"""Companions of pass@k: against exact rationals, enumeration and integrals."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, permutations
from math import ceil, comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.errors import InputError
from scaling.fitting import pass_at_k
from scaling.fitting.companions import (
    expected_attempts,
    expected_attempts_beta,
    expected_maximum,
    g_pass,
    pass_all,
    threshold_pass,
)


@st.composite
def counts_and_k(draw):
    n = draw(st.integers(1, 80))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


def tail(n, c, k, at_least):
    right = sum(comb(c, j) * comb(n - c, k - j) for j in range(at_least, k + 1))
    return Fraction(right, comb(n, k))


def mean_attempts(n, c, cap):
    return sum(Fraction(comb(n - c, j), comb(n, j)) for j in range(cap))


@given(counts_and_k())
def test_all_right_is_a_ratio_of_binomials(ncs):
    n, c, k = ncs
    exact = float(Fraction(comb(c, k), comb(n, k)))
    assert float(pass_all(n, c, k)) == pytest.approx(exact, rel=1e-12)


@given(counts_and_k())
def test_order_of_the_estimates(ncs):
    n, c, k = ncs
    assert float(pass_all(n, c, 1)) == pytest.approx(c / n, rel=1e-14)
    assert float(pass_all(n, c, k)) <= c / n + 1e-13
    assert c / n <= float(pass_at_k(n, c, k)) + 1e-13
    thresholds = threshold_pass(n, c, k, np.arange(k + 1))
    assert thresholds[0] == 1
    assert (np.diff(thresholds) <= 1e-13).all()
    assert thresholds[1] == pytest.approx(float(pass_at_k(n, c, k)), rel=1e-11, abs=1e-13)
    assert thresholds[-1] == pytest.approx(float(pass_all(n, c, k)), rel=1e-11)


@given(counts_and_k(), st.data())
def test_threshold_is_a_hypergeometric_tail(ncs, data):
    n, c, k = ncs
    at_least = data.draw(st.integers(0, k))
    exact = float(tail(n, c, k, at_least))
    assert float(threshold_pass(n, c, k, at_least)) == pytest.approx(exact, rel=1e-11, abs=1e-300)


@pytest.mark.parametrize(
    ("n", "c", "k", "at_least"),
    [
        (10_000, 700, 900, 100),
        (10_000, 9_000, 300, 290),
        (10_000, 50, 200, 12),
        (400, 390, 200, 195),
    ],
)
def test_large_counts_keep_their_digits(n, c, k, at_least):
    exact = float(tail(n, c, k, at_least))
    assert float(threshold_pass(n, c, k, at_least)) == pytest.approx(exact, rel=3e-11)
    whole = float(Fraction(comb(c, k), comb(n, k)))
    assert float(pass_all(n, c, k)) == pytest.approx(whole, rel=3e-11)


def test_enumeration_of_all_draws():
    verdicts = [1, 0, 1, 1, 0, 0, 1]
    n, c = len(verdicts), sum(verdicts)
    for k in range(1, n + 1):
        draws = [sum(d) for d in combinations(verdicts, k)]
        assert float(pass_all(n, c, k)) == pytest.approx(
            np.mean([d == k for d in draws]), rel=1e-13
        )
        for tau in (0.0, 0.25, 0.5, 0.75, 1.0):
            need = max(1, ceil(tau * k))
            assert float(g_pass(n, c, k, tau)) == pytest.approx(
                np.mean([d >= need for d in draws]), rel=1e-12, abs=1e-15
            )
    first = [(*order, 1).index(1) + 1 for order in permutations(verdicts)]
    for cap in range(1, n + 2):
        assert float(expected_attempts(n, c, cap)) == pytest.approx(
            np.mean(np.minimum(first, cap)), rel=1e-13
        )


def test_a_share_that_rounds_up_is_still_whole():
    assert g_pass(100, 50, 100, 0.07) == threshold_pass(100, 50, 100, 7) == 1
    n, c, k = 200, 20, 100
    assert 0.07 * k > 7  # so a plain ceiling asks for 8
    assert g_pass(n, c, k, 0.07) == threshold_pass(n, c, k, 7)


def test_maximum_is_the_mean_over_subsets():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(2, 7)).round(1)  # with ties
    k = np.arange(1, 9)
    found = expected_maximum(scores, k)
    assert found.shape == (2, 8)
    for row, values in zip(found, scores, strict=True):
        exact = [np.mean([max(d) for d in combinations(values, size)]) for size in k[:-1]]
        np.testing.assert_allclose(row[:-1], exact, rtol=1e-12, atol=1e-14)
        assert np.isnan(row[-1])
    assert expected_maximum(scores[0], 1) == pytest.approx(scores[0].mean())
    assert expected_maximum([0.4], 1) == 0.4
    assert expected_maximum(scores[0], 7) == scores[0].max()


@given(counts_and_k())
def test_maximum_of_verdicts_is_pass_at_k(ncs):
    n, c, k = ncs
    verdicts = np.repeat([1.0, 0.0], [c, n - c])
    assert float(expected_maximum(verdicts, k)) == pytest.approx(
        float(pass_at_k(n, c, k)), rel=1e-11, abs=1e-13
    )


@given(counts_and_k())
def test_expected_attempts_is_a_sum_of_failures(ncs):
    n, c, cap = ncs
    assert float(expected_attempts(n, c, cap)) == pytest.approx(
        float(mean_attempts(n, c, cap)), rel=1e-12
    )


@pytest.mark.parametrize(
    ("n", "c", "cap"), [(10_000, 3, 900), (10_000, 0, 1), (10_000, 9_999, 10_000)]
)
def test_expected_attempts_at_large_counts(n, c, cap):
    failing = np.cumprod(
        np.concatenate([[1.0], (n - c - np.arange(cap - 1.0)) / (n - np.arange(cap - 1.0))])
    )
    assert float(expected_attempts(n, c, cap)) == pytest.approx(
        np.clip(failing, 0, None).sum(), rel=1e-11
    )


def test_beyond_the_attempts_there_is_no_estimate():
    assert np.isnan(pass_all(10, 10, 11))
    assert np.isnan(threshold_pass(10, 0, 11, 1))
    assert np.isnan(g_pass(10, 3, 11, 0.5))
    assert np.isnan(expected_attempts(10, 3, 12))
    assert expected_attempts(10, 3, 11) == pytest.approx(11 / 4)


@pytest.mark.parametrize(
    ("alpha", "beta", "cap", "expected", "tolerance"),
    [
        (0.038399, 0.35393, 5, 4.4959, 5e-5),
        (0.2955, 12.365, 5, 4.787071812749, 5e-13),
        (0.2955, 12.365, 50, 37.33936154146, 5e-12),
    ],
)
def test_reference_values_under_a_beta(alpha, beta, cap, expected, tolerance):
    assert abs(float(expected_attempts_beta(alpha, beta, cap)) - expected) <= tolerance


@pytest.mark.parametrize(
    "alpha", [0.01, 0.3, 1 - 1e-4, 1 - 1e-7, 1 - 1e-12, 1.0, 1 + 1e-9, 1 + 1e-5, 2.5, 400]
)
@pytest.mark.parametrize("beta", [0.01, 0.35, 1.0, 40.0, 3000.0])
def test_beta_form_is_the_sum_of_its_terms(alpha, beta):
    cap = 400
    j = np.arange(cap - 1)
    total = np.cumsum(np.cumprod(np.concatenate([[1.0], (beta + j) / (alpha + beta + j)])))
    caps = np.array([1, 2, 24, 25, 26, 27, 100, cap])
    np.testing.assert_allclose(
        expected_attempts_beta(alpha, beta, caps), total[caps - 1], rtol=1e-11
    )


def test_beta_form_is_the_mean_over_problems_of_the_estimate_from_counts():
    rng = np.random.default_rng(5)
    p = rng.beta(0.4, 3.0, 40_000)
    estimates = expected_attempts(60, rng.binomial(60, p), 30)
    error = estimates.std() / np.sqrt(len(p))
    assert abs(estimates.mean() - float(expected_attempts_beta(0.4, 3.0, 30))) < 4 * error


@pytest.mark.parametrize(
    "call",
    [
        lambda: pass_all(10, 11, 1),
        lambda: pass_all(10, 2.5, 1),
        lambda: pass_all(10, 3, 0),
        lambda: threshold_pass(10, 3, 4, 5),
        lambda: threshold_pass(10, 3, 4, 1.5),
        lambda: g_pass(10, 3, 4, 1.1),
        lambda: expected_maximum([], 1),
        lambda: expected_maximum([[1.0, np.nan]], 1),
        lambda: expected_maximum([1.0], 1.5),
        lambda: expected_attempts(10, 3, 0),
        lambda: expected_attempts_beta(0.0, 1.0, 3),
        lambda: expected_attempts_beta(1.0, np.inf, 3),
        lambda: expected_attempts_beta(1.0, 1.0, 2.5),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(InputError):
        call()
