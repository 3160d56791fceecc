"""Special functions that SciPy lacks, or has in a form that is too slow or loses digits here.

Each is checked against SciPy or mpmath in `tests/core/test_special.py` and timed in
`benchmarks/fits.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_CELLS = 16_000  # terms of a sum evaluated together
_STIRLING = 24.0  # from here on the series below is exact to float64


def log_rising(x: ArrayLike, n: ArrayLike) -> FloatArray:
    """Logarithm of the rising factorial, log(x (x+1) ... (x+n-1)) = lnΓ(x+n) - lnΓ(x).

    Keeps its digits for large `x`, where the difference of two log-gammas cancels: there it is
    (x - 1/2) log1p(n/x) + n log(x+n) - n + S(x+n) - S(x) with Stirling's series S.

    Args:
        x: positive, any shape.
        n: non-negative, broadcast against `x`.
    """
    from scipy.special import gammaln

    x, n = np.asarray(x, dtype=np.float64), np.asarray(n, dtype=np.float64)
    large = x >= _STIRLING
    if large.all():
        return _log_rising_large(x, n)
    small = gammaln(x + n) - gammaln(x)
    if not large.any():
        return np.asarray(small, dtype=np.float64)
    return np.where(large, _log_rising_large(np.maximum(x, _STIRLING), n), small)


def log_beta_ratio(a: ArrayLike, b: ArrayLike, k: ArrayLike) -> FloatArray:
    """Logarithm of B(a, b+k) / B(a, b), which is E (1-p)^k for p ~ Beta(a, b).

    Symmetric in `a` and `k`: it is log_rising(b, m) - log_rising(b+M, m) with m the smaller and M the
    larger of the two, so that neither term is larger than it need be.

    Args:
        a: positive.
        b: positive.
        k: non-negative; all three broadcast.
    """
    a, b, k = (np.asarray(x, dtype=np.float64) for x in (a, b, k))
    fewer, more = np.minimum(a, k), np.maximum(a, k)
    return log_rising(b, fewer) - log_rising(b + more, fewer)


def log_choose(n: ArrayLike, k: ArrayLike) -> FloatArray:
    """Logarithm of the binomial coefficient C(n, k).

    Where k and n-k are large, by Stirling's formula as k log(n/k) + (n-k) log(n/(n-k)) and small terms, none of
    which is larger than the result.

    Args:
        n: non-negative.
        k: from 0 to n; both broadcast.
    """
    n, k = (np.asarray(x, dtype=np.float64) for x in (n, k))
    fewer = np.minimum(k, n - k)
    small = log_rising(n - fewer + 1.0, fewer) - log_rising(1.0, fewer)
    if fewer.max(initial=0.0) < _STIRLING:
        return small
    few = np.maximum(fewer, _STIRLING)
    whole = np.maximum(n, 2 * few)
    rest = whole - few
    large = few * np.log(whole / few) - rest * np.log1p(-few / whole)
    large += 0.5 * np.log(whole / (2 * np.pi * few * rest))
    large += _stirling(whole) - _stirling(few) - _stirling(rest)
    return np.where(fewer < _STIRLING, small, large)


def _log_rising_large(x: FloatArray, n: FloatArray) -> FloatArray:
    y = x + n
    out: FloatArray = (x - 0.5) * np.log1p(n / x) + n * np.log(y) - n
    out += _stirling(y) - _stirling(x)
    return out


def _stirling(x: FloatArray) -> FloatArray:
    w = 1.0 / (x * x)
    series: FloatArray = (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / x
    return series


def log_scaled_beta_moment(
    alpha: ArrayLike, beta: ArrayLike, s: ArrayLike, n: ArrayLike, c: ArrayLike
) -> FloatArray:
    """Logarithm of E p^c (1-p)^(n-c) for p = s u with u ~ Beta(alpha, beta).

    From 1 - s u = (1-s) + s (1-u) follows the sum, all of whose terms are positive,
        s^c / B(alpha, beta) * sum over j = 0..n-c of C(n-c, j) (1-s)^(n-c-j) s^j B(alpha+c, beta+j).
    Terms rise to one mode, where the ratio of neighbours is one (a quadratic in j), and fall off like a
    normal density or faster; what lies beyond ten standard deviations is left out, but for the
    first term, which for beta < 1 may stand above its neighbours. The term at the mode is had from
    log-gammas, the others from their ratios to their neighbours.

    Args:
        alpha: positive.
        beta: positive.
        s: in (0, 1].
        n: attempts.
        c: successes; all five broadcast.
    """
    cells = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (alpha, beta, s, n, c)))
    shape = cells[0].shape
    a, b, s, n, c = (x.ravel() for x in cells)
    lost, whole = n - c, a + b + c
    half = 0.5 * ((1 - s) * (1 + whole) - s * (lost - b))
    mode = np.sqrt(np.maximum(half * half - (1 - s) * whole + s * lost * b, 0.0)) - half
    mode = np.where(s == 1, lost, np.floor(np.clip(mode, 0.0, lost)))  # at s = 1 one term is left
    reach = np.ceil(10 * np.sqrt((mode + whole) * (lost - mode + 1) / (lost + whole)) + 20)
    below, above = np.minimum(mode, reach), np.minimum(lost - mode, reach)
    top = _scaled_beta_term(a, b, s, lost, c, mode)
    start = np.where(mode > below, _scaled_beta_term(a, b, s, lost, c, np.zeros(1)), -np.inf)
    total = 1.0 + np.exp(start - top)
    odds = (1 - s) / s
    with np.errstate(all="ignore"):
        total += _chain(
            below, lambda i, at: _down(mode[at] - i, lost[at], odds[at], whole[at], b[at])
        )
        total += _chain(
            above, lambda i, at: 1 / _down(mode[at] + i + 1, lost[at], odds[at], whole[at], b[at])
        )
    return np.asarray((c * np.log(s) + top + np.log(total)).reshape(shape))


def _down(
    j: FloatArray, lost: FloatArray, odds: FloatArray, whole: FloatArray, b: FloatArray
) -> FloatArray:
    """Term j - 1 over term j."""
    return j * odds * (whole + j - 1) / ((lost - j + 1) * (b + j - 1))


def _chain(
    length: FloatArray, ratio: Callable[[FloatArray, NDArray[np.intp]], FloatArray]
) -> FloatArray:
    """Sum over i < length of the product of the first i + 1 ratios, for each of the cells.

    Args:
        length: whole numbers, shape (N,).
        ratio: of i, shape (L, 1), and of the numbers of some cells, shape (M,), to shape (L, M).
    """
    out = np.zeros(len(length))
    order = np.argsort(length)
    done = int(np.searchsorted(length[order], 0.5))
    while done < len(order):
        block = order[done : done + max(1, int(_CELLS / (2 * length[order[done]])))]
        longest = int(length[block[-1]])
        i = np.arange(float(longest))[:, None]
        terms = np.where(i < length[block], ratio(i, block), 0.0)
        np.cumprod(terms, axis=0, out=terms)
        out[block] = terms.sum(axis=0)
        done += len(block)
    return out


def _scaled_beta_term(
    a: FloatArray, b: FloatArray, s: FloatArray, lost: FloatArray, c: FloatArray, j: FloatArray
) -> FloatArray:
    from scipy.special import xlog1py

    beta = log_beta_ratio(a, b, j) + log_beta_ratio(b + j, a, c)  # B(a+c, b+j) / B(a, b)
    return np.asarray(log_choose(lost, j) + xlog1py(lost - j, -s) + j * np.log(s) + beta)


def rising_derivative(order: int, x: ArrayLike, n: ArrayLike) -> FloatArray:
    """Derivative of `log_rising` in `x`, of order 1 (digamma) or 2 (trigamma).

    Args:
        order: 1 or 2.
        x: positive, any shape.
        n: non-negative, broadcast against `x`.
    """
    from scipy.special import psi

    x, n = np.asarray(x, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if order in (1, 2):
        large = x >= _STIRLING
        if large.all():
            return _rising_derivative_large(order, x, n)
        small = psi(x + n) - psi(x) if order == 1 else trigamma(x + n) - trigamma(x)
        if not large.any():
            return np.asarray(small, dtype=np.float64)
        return np.where(large, _rising_derivative_large(order, np.maximum(x, _STIRLING), n), small)
    msg = f"derivatives of order {order} are not needed by any law; 1 and 2 are"
    raise ValueError(msg)


def _rising_derivative_large(order: int, x: FloatArray, n: FloatArray) -> FloatArray:
    # Of `_log_rising_large`, term by term: for large `x` the difference of digammas would cancel.
    y = x + n
    v, w = 1.0 / (x * x), 1.0 / (y * y)
    if order == 1:
        out: FloatArray = np.log1p(n / x) + 0.5 * n / (x * y)
        return out + _stirling_slope(w) - _stirling_slope(v)
    return -n / (x * y) - 0.5 * n * (x + y) * v * w + _stirling_bend(w) / y - _stirling_bend(v) / x


def _stirling_slope(w: FloatArray) -> FloatArray:
    return -w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w / 132))))


def _stirling_bend(w: FloatArray) -> FloatArray:
    return w * (1 / 6 - w * (1 / 30 - w * (1 / 42 - w * (1 / 30 - w * 5 / 66))))


def trigamma(x: ArrayLike) -> FloatArray:
    """ψ'(x) for positive `x`, by recurrence to x >= 8 and the asymptotic series.

    About ten times as fast as `scipy.special.zeta(2, x)`, to a relative error of 1e-14.
    """
    x = np.asarray(x, dtype=np.float64)
    total = np.zeros_like(x)
    if x.size and x.min() < 8.0:
        x = np.array(x)
        low = x < 8.0
        z = x[low]
        part = np.zeros_like(z)
        for _ in range(8):
            part += 1.0 / (z * z)
            z += 1.0
        total[low], x[low] = part, z
    w = 1.0 / (x * x)
    series = w * (
        1 / 6
        - w * (1 / 30 - w * (1 / 42 - w * (1 / 30 - w * (5 / 66 - w * (691 / 2730 - w * 7 / 6)))))
    )
    total += (1.0 + 0.5 / x + series) / x
    return total


def log_sigmoid(x: ArrayLike) -> FloatArray:
    """-log(1 + e^-x), without overflow."""
    x = np.asarray(x, dtype=np.float64)
    return np.asarray(np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x))))


def log_gamma(x: ArrayLike) -> FloatArray:
    """lnΓ(x) for positive `x`."""
    from scipy.special import gammaln

    return np.asarray(gammaln(x), dtype=np.float64)


def gamma_derivative(order: int, x: ArrayLike) -> FloatArray:
    """ψ(x) for order 1, ψ'(x) for order 2."""
    from scipy.special import psi

    return trigamma(x) if order == 2 else np.asarray(psi(x), dtype=np.float64)


def log_if_zero(x: ArrayLike) -> FloatArray:
    """0 where `x` is 0, else minus infinity."""
    return np.where(np.asarray(x) == 0, 0.0, -np.inf)
