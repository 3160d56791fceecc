"""What else counts of repeated attempts say: closed forms beside pass@k, at the same cost.

Each is the mean over all ways of drawing k of the n attempts without replacement, and so unbiased for independent
attempts and a fixed n. Beyond n there is no unbiased estimate: the result is NaN there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core.special import log_rising, trigamma
from scaling.errors import InputError
from scaling.fitting.passk import pass_at_k

FloatArray = NDArray[np.float64]

_NEGLIGIBLE = 1e-18  # of a sum of falling terms
_HEAD = (
    25  # terms that are added one by one, so that the rest starts where log_rising keeps its digits
)
_NEAR_ONE = 1e-6  # of alpha to 1: there the difference quotient is a derivative


def pass_all(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """Unbiased estimate of the chance that all of `k` attempts are right, pass^k = C(c, k) / C(n, k).

    Yao et al. (2024), tau-bench, section 4. A product of min(k, n-c) factors in logarithms; NaN for k > n.

    Args:
        n: attempts; any shapes that broadcast.
        c: successes, whole numbers with 0 <= c <= n.
        k: numbers of attempts, whole and >= 1.

    Raises:
        InputError: for counts or k outside these ranges.
    """
    attempts, successes, draws = _counts(n, c, k)
    fewer = np.minimum(draws, attempts - successes)
    # C(c, k) / C(n, k) = C(n-k, n-c) / C(n, n-c): the product may run over k or over the failures.
    top = np.where(fewer == draws, successes, attempts - draws) - fewer + 1
    log_all = log_rising(np.maximum(top, 1), fewer) - log_rising(
        np.maximum(attempts - fewer + 1, 1), fewer
    )
    value = np.where(draws > successes, 0.0, np.exp(np.minimum(log_all, 0.0)))
    return np.where(draws > attempts, np.nan, value)


def threshold_pass(n: ArrayLike, c: ArrayLike, k: ArrayLike, at_least: ArrayLike) -> FloatArray:
    """Unbiased estimate of the chance that `at_least` of `k` attempts are right.

    sum_{j >= at_least} C(c, j) C(n-c, k-j) / C(n, k), the upper tail of the hypergeometric distribution. One is
    pass@k, k is pass^k. The shorter tail is summed outwards from its largest term, so that small values keep
    their digits.

    Args:
        n: attempts; any shapes that broadcast.
        c: successes, whole numbers with 0 <= c <= n.
        k: numbers of attempts, whole and >= 1.
        at_least: how many must be right, whole, between 0 and k.

    Raises:
        InputError: for counts, k or at_least outside these ranges.
    """
    attempts, successes, draws, least = np.broadcast_arrays(*_counts(n, c, k), np.asarray(at_least))
    wrong = ~((least >= 0) & (least <= draws) & (least == np.floor(least)))
    if wrong.any():
        raise InputError(
            f"at least {least[wrong][0]:g} of k = {draws[wrong][0]:g} attempts: a whole number from 0 to k is needed"
        )
    shape = attempts.shape
    N, C, K, a = (np.ravel(x).astype(np.float64) for x in (attempts, successes, draws, least))
    out = np.full(N.shape, np.nan)
    known = np.flatnonzero(K <= N)
    N, C, K, a = N[known], C[known], K[known], a[known]
    lowest, highest = np.maximum(0.0, K - (N - C)), np.minimum(K, C)
    upper = a > np.floor((K + 1) * (C + 1) / (N + 2))  # beyond the mode terms fall
    j = np.where(upper, a, a - 1)
    empty = (j < lowest) | (j > highest)
    j = np.clip(j, lowest, highest)
    log_first = _log_choose(C, j) + _log_choose(N - C, K - j) - _log_choose(N, K)
    term = np.where(empty, 0.0, np.exp(log_first))
    tail = term.copy()
    while np.any(term > _NEGLIGIBLE * tail):
        up = (C - j) * (K - j) / ((j + 1) * np.maximum(N - C - K + j + 1, 1))
        down = j * np.maximum(N - C - K + j, 0) / ((C - j + 1) * (K - j + 1))
        term = term * np.where(upper, up, down)
        j = np.where(upper, np.minimum(j + 1, highest), np.maximum(j - 1, lowest))
        tail += term
    out[known] = np.clip(np.where(upper, tail, 1 - tail), 0.0, 1.0)
    return out.reshape(shape)


def g_pass(n: ArrayLike, c: ArrayLike, k: ArrayLike, tau: float) -> FloatArray:
    """G-Pass@k with threshold tau: `threshold_pass` of at least ceil(tau k) right ones, and at least one.

    Liu et al. (2024), Are Your LLMs Capable of Stable Reasoning?, equation 3.

    Args:
        n: attempts; any shapes that broadcast.
        c: successes, whole numbers with 0 <= c <= n.
        k: numbers of attempts, whole and >= 1.
        tau: share that must be right, between 0 (pass@k) and 1 (pass^k).

    Raises:
        InputError: for counts, k or tau outside these ranges.
    """
    if not 0 <= tau <= 1:
        raise InputError(f"tau is the share of k that must be right, between 0 and 1, not {tau:g}")
    draws = np.asarray(k, dtype=np.float64)
    # 0.07 * 100 is 7.000000000000001, and means 7.
    return threshold_pass(n, c, k, np.maximum(np.ceil(tau * draws - 1e-9), 1))


def expected_maximum(scores: ArrayLike, k: ArrayLike) -> FloatArray:
    """Unbiased estimate of the expected largest of `k` scores, from n of them.

    sum_i s_(i) C(i-1, k-1) / C(n, k) over the scores in increasing order: the mean over all subsets of k. NaN for
    k > n.

    Args:
        scores: of the attempts at each problem, shape (..., n), all finite.
        k: numbers of attempts, whole and >= 1, shape (K,) or a number.

    Returns:
        Shape (..., K), or (...) for a single k.

    Raises:
        InputError: for a score that is not finite, no scores, or k out of range.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise InputError(
            "the expected maximum needs at least one score; the array of scores is empty"
        )
    if not np.isfinite(values).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise InputError(
            f"score {where} is {values[where]:g}; scores are finite numbers. Leave out attempts without one."
        )
    draws = np.atleast_1d(np.asarray(k, dtype=np.float64))
    n = values.shape[-1]
    _counts(n, n, draws)
    rank = np.arange(1.0, n + 1)
    # C(i-1, k-1) / C(n, k) = k/n pass^(k-1) of i-1 successes in n-1
    kept = np.clip(draws, 2, max(n, 2)) - 1
    share = (
        pass_all(max(n - 1, 1), rank[:, None] - 1, kept[None, :])
        if n > 1
        else np.ones((1, len(draws)))
    )
    weights = draws / n * np.where(draws == 1, 1.0, share)
    best = np.sort(values, axis=-1) @ weights
    best = np.where(draws > n, np.nan, best)
    return best[..., 0] if np.ndim(k) == 0 else best


def expected_attempts(n: ArrayLike, c: ArrayLike, cap: ArrayLike) -> FloatArray:
    """Unbiased estimate of the attempts spent up to the first success, when one gives up after `cap`.

    sum_{j < cap} (1 - pass@j) = [(n+1) pass@cap + cap (1 - pass@cap)] / (c+1). The left side is the mean of
    min(T, cap) for the attempt T of the first success; the right side is its telescoped form, in which
    nothing cancels. NaN for cap > n + 1.

    Args:
        n: attempts; any shapes that broadcast.
        c: successes, whole numbers with 0 <= c <= n.
        cap: the most attempts, whole and >= 1.

    Raises:
        InputError: for counts or caps outside these ranges.
    """
    attempts, successes, most = _counts(n, c, cap)
    solved = pass_at_k(attempts, successes, np.minimum(most, np.maximum(attempts, 1)))
    value = ((attempts + 1) * solved + most * (1 - solved)) / (successes + 1)
    value = np.where(most == attempts + 1, most / (successes + 1), value)
    return np.where(most > attempts + 1, np.nan, value)


def expected_attempts_beta(alpha: ArrayLike, beta: ArrayLike, cap: ArrayLike) -> FloatArray:
    """Attempts spent up to the first success or `cap`, for a success rate p ~ Beta(alpha, beta).

    sum_{j < K} E(1-p)^j = [(a+b-1) - (a+b+K-1) r_K] / (a-1) with r_K = B(a, b+K) / B(a, b). Evaluated as
    1 + b (1 - exp(-d)) / (a-1), d = sum_{j=1}^{K-1} log(1 + (a-1)/(b+j)), which cancels nowhere; at a = 1 it is
    1 + b sum_j 1/(b+j). With the parameters of a posterior it is what the next attempts at a problem cost.

    Args:
        alpha: positive; all three broadcast.
        beta: positive.
        cap: the most attempts, whole and >= 1.

    Raises:
        InputError: for parameters that are not positive and finite, or caps out of range.
    """
    from scipy.special import psi

    a, b, K = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (alpha, beta, cap)))
    wrong = ~((a > 0) & (b > 0) & np.isfinite(a) & np.isfinite(b))
    if wrong.any():
        raise InputError(
            f"Beta({a[wrong][0]:g}, {b[wrong][0]:g}) is no distribution; both parameters are positive and finite"
        )
    wrong = ~((K >= 1) & (np.floor(K) == K) & np.isfinite(K))
    if wrong.any():
        raise InputError(f"the most attempts are a whole number >= 1, not {K[wrong][0]:g}")
    e = a - 1
    slope = np.zeros(a.shape)  # d / (a-1)
    for j in range(1, _HEAD):
        x = e / (b + j)
        ratio = np.divide(np.log1p(x), x, out=np.ones_like(x), where=x != 0)
        slope += np.where(j < K, ratio / (b + j), 0.0)
    low, high = b + _HEAD, b + np.maximum(K, _HEAD)
    near = np.abs(e) < _NEAR_ONE
    step = np.where(near, 1.0, np.abs(e))
    down = np.minimum(np.where(near, 0.0, e), 0.0)
    quotient = (log_rising(high + down, step) - log_rising(low + down, step)) / step
    limit = psi(high) - psi(low) + e / 2 * (trigamma(high) - trigamma(low))
    slope += np.where(near, limit, quotient)
    d = e * slope
    return 1 + b * slope * np.divide(-np.expm1(-d), d, out=np.ones_like(d), where=d != 0)


def _counts(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    attempts, successes, draws = (np.asarray(x, dtype=np.float64) for x in (n, c, k))
    both = np.broadcast_arrays(attempts, successes)
    wrong = ~((both[1] >= 0) & (both[1] <= both[0]) & np.isfinite(both[0]))
    wrong |= (both[0] != np.floor(both[0])) | (both[1] != np.floor(both[1]))
    if wrong.any():
        raise InputError(
            f"n = {both[0][wrong][0]:g} and c = {both[1][wrong][0]:g}: whole numbers with 0 <= c <= n are needed; "
            "check that n and c are not exchanged"
        )
    outside = ~((draws >= 1) & (draws == np.floor(draws)) & np.isfinite(draws))
    if outside.any():
        raise InputError(
            f"k is a whole number >= 1, not {draws[outside][0]:g}; a fitted law answers for other k"
        )
    return attempts, successes, draws


def _log_choose(n: FloatArray, k: FloatArray) -> FloatArray:
    fewer = np.minimum(k, n - k)
    return log_rising(n - fewer + 1, fewer) - log_rising(1.0, fewer)
