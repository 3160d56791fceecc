"""Special functions that SciPy lacks, or has in a form that is too slow or loses digits here.

Each is checked against SciPy or mpmath in `tests/core/test_special.py` and timed in
`benchmarks/fits.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

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


def _log_rising_large(x: FloatArray, n: FloatArray) -> FloatArray:
    y = x + n
    out: FloatArray = (x - 0.5) * np.log1p(n / x) + n * np.log(y) - n
    out += _stirling(y) - _stirling(x)
    return out


def _stirling(x: FloatArray) -> FloatArray:
    w = 1.0 / (x * x)
    series: FloatArray = (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / x
    return series


def rising_derivative(order: int, x: ArrayLike, n: ArrayLike) -> FloatArray:
    """Derivative of `log_rising` in `x`, of order 1 (digamma) or 2 (trigamma).

    Args:
        order: 1 or 2.
        x: positive, any shape.
        n: non-negative, broadcast against `x`.
    """
    from scipy.special import psi

    x, n = np.asarray(x, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if order == 1:
        return np.asarray(psi(x + n) - psi(x), dtype=np.float64)
    if order == 2:
        return trigamma(x + n) - trigamma(x)
    msg = f"derivatives of order {order} are not needed by any law; 1 and 2 are"
    raise ValueError(msg)


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
