"""Unbiased pass@k from counts, whole curves at once.

Chen et al. (2021), Evaluating Large Language Models Trained on Code, section 2.1; Brown et al. (2024),
equation 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core.special import log_rising
from scaling.data.distinct import UniqueCounts, unique_counts
from scaling.errors import InputError

__all__ = [
    "UniqueCounts",
    "coverage",
    "curve",
    "error_grid",
    "log_grid",
    "mean_of",
    "pass_at_k",
    "unique_counts",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_ROUNDING = 1e-12


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """Unbiased estimate of the chance that at least one of `k` attempts is right.

    1 - C(n-c, k) / C(n, k), with the ratio as a product of min(c, k) factors in logarithms. Beyond `n` there
    is no unbiased estimate (pass@k is a polynomial of degree k in the success rate, and n attempts identify
    degrees up to n): the result is NaN there, also for c = 0.

    Args:
        n: attempts; any shapes that broadcast.
        c: successes, whole numbers with 0 <= c <= n.
        k: numbers of attempts, whole and >= 1.

    Raises:
        InputError: for counts or k outside these ranges.
    """
    attempts, successes, draws = (np.asarray(x, dtype=np.float64) for x in (n, c, k))
    if not np.all((successes >= 0) & (successes <= attempts)):
        raise InputError(
            "pass@k needs counts with 0 <= c <= n; check that n and c are not exchanged"
        )
    if not np.all((draws >= 1) & (draws == np.floor(draws))):
        msg = f"pass@k is defined for whole k >= 1, not for {draws.ravel()[0]:g}; a fitted law answers for other k"
        raise InputError(msg)
    fewer = np.minimum(successes, draws)
    left = attempts - successes - draws + 1  # failures left to draw the last attempt from
    log_fail = log_rising(np.maximum(left, 1), fewer) - log_rising(
        np.maximum(attempts - fewer + 1, 1), fewer
    )
    passed = np.where(left < 1, 1.0, np.abs(np.expm1(log_fail)))
    return np.where(draws > attempts, np.nan, passed)


def coverage(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """Mean unbiased pass@k over problems, shape (K,); NaN beyond the smallest `n`.

    Args:
        n: attempts at each problem, shape (P,).
        c: successes, shape (P,).
        k: numbers of attempts, shape (K,).
    """
    counts = unique_counts(n, c)
    if not len(counts.n):
        raise InputError("no problems: coverage is a mean over at least one problem")
    return curve(
        counts, np.atleast_1d(np.asarray(k)), counts.multiplicity / counts.multiplicity.sum()
    )


def curve(counts: UniqueCounts, k: ArrayLike, weights: FloatArray) -> FloatArray:
    """Weighted means of pass@k: `weights` of shape (..., U) give shape (..., K)."""
    return mean_of(weights, pass_at_k(counts.n[:, None], counts.c[:, None], np.asarray(k)[None, :]))


def mean_of(weights: FloatArray, table: FloatArray) -> FloatArray:
    """`weights @ table` for weights that add up to one; what rounding has moved off one is one."""
    mean = np.asarray(weights @ table)
    return np.where(np.abs(mean - 1) < _ROUNDING, 1.0, mean)


def log_grid(largest: int, points: int = 20) -> IntArray:
    """Whole numbers from 1 to `largest`, evenly spaced in logarithm, rounded down, without repeats."""
    return np.unique(_rounded_down(largest, points))


def error_grid(largest: int, points: int = 100) -> IntArray:
    """The points over which the error of a fit is averaged, repeats kept (Brown et al., figure 5)."""
    return _rounded_down(largest, points)


def _rounded_down(largest: int, points: int) -> IntArray:
    # The 1e-9 keeps the end point, which otherwise is lost to rounding for many maxima.
    return np.floor(np.logspace(0, np.log10(largest), points) + 1e-9).astype(np.int64)
