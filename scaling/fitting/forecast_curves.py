"""Straight lines through the coverage curve, and what problems they were drawn through.

-log coverage = A k^-b is a straight line of log(-log coverage) against log k (Brown et al. 2024, equation 3).
Three ways to draw it, from all problems and from random weights on them (Bayesian bootstrap, Rubin 1981:
unlike resampling it never loses the last solved problem).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.data.distinct import UniqueCounts
from scaling.fitting.least_squares import least_squares
from scaling.fitting.passk import curve, log_grid

FloatArray = NDArray[np.float64]

_TOP = 1 - 1e-9  # a curve that reaches one has no log(-log)
_KEPT = 0.25  # of a miss at the end of the line, a decade beyond it
_STEEPEST = np.log(10.0)  # log exponent: keeps lines through two or three points finite


class Lines:
    """R lines log(-log coverage) = intercept - exp(log_exponent) log k, the first through all problems.

    Args:
        intercept: shape (R,).
        log_exponent: shape (R,).
        end: the largest k that the lines were drawn through.
        observed: coverage there.
    """

    def __init__(
        self, intercept: FloatArray, log_exponent: FloatArray, end: float, observed: float
    ) -> None:
        self._prefactor = np.exp(intercept)
        self._exponent = np.exp(log_exponent)
        line = float(self.unsolved([end])[0, 0])
        self._misfit = line / max(1 - observed, 1e-12) if observed < 1 else 1.0

    def unsolved(self, k: ArrayLike) -> FloatArray:
        """One minus the coverage at `k` of shape (K,), shape (R, K)."""
        power = np.asarray(k, dtype=np.float64)[None, :] ** -self._exponent[:, None]
        return np.asarray(-np.expm1(-self._prefactor[:, None] * power))

    def left(self, n: ArrayLike, k: ArrayLike) -> FloatArray:
        """Chance that a problem unsolved in n attempts is still unsolved in k >= n, shape (R, K).

        The ratio of the two shares unsolved; but where the line misses the share seen at its end, three
        quarters of the miss are made good in each decade beyond: the line is believed far away.

        Args:
            n: shape (K,).
            k: shape (K,).
        """
        n, k = np.asarray(n, dtype=np.float64), np.asarray(k, dtype=np.float64)
        ratio = self.unsolved(k) / np.maximum(self.unsolved(n), 1e-300)
        kept = _KEPT ** np.log10(k / n)
        return np.asarray(np.clip(ratio * self._misfit ** (1 - kept), 0.0, 1.0))


Weighting = Callable[[FloatArray, FloatArray], Lines]


def curves(
    counts: UniqueCounts, rng: np.random.Generator, replicates: int
) -> tuple[FloatArray, FloatArray]:
    """Coverage up to the fewest attempts at any problem.

    Returns:
        k (K,) and coverage (1 + replicates, K): the first row from all problems alike, the others with
        random weights.
    """
    multiplicity = counts.multiplicity.astype(float)
    weights = np.vstack(
        [multiplicity, rng.gamma(multiplicity, size=(replicates, len(multiplicity)))]
    )
    k = log_grid(int(counts.n.min()))
    coverage = curve(counts, k, weights / weights.sum(axis=1, keepdims=True))
    return k.astype(float), np.clip(coverage, 1e-300, _TOP)


def unweighted(k: FloatArray, coverage: FloatArray) -> Lines:
    """Every point counts alike."""
    return _regress(k, coverage, np.ones(len(k)))


def by_variance(k: FloatArray, coverage: FloatArray) -> Lines:
    """Each point counts by how well the problems determine it: the inverse of its bootstrap variance."""
    variance = _straight(coverage[1:]).var(axis=0)
    return _regress(k, coverage, 1 / (variance + 1e-9))


def on_log_coverage(k: FloatArray, coverage: FloatArray) -> Lines:
    """Least squares on log coverage, the objective of Brown et al.'s published coefficients."""
    lines = _line(k, coverage, np.ones(len(k)))
    found = least_squares(_log_coverage, [np.log(k)], np.log(coverage), np.stack(lines, axis=1))
    intercept, log_exponent = found.coordinates.T
    return Lines(
        intercept, np.minimum(log_exponent, _STEEPEST), float(k[-1]), float(coverage[0, -1])
    )


WEIGHTINGS: dict[str, Weighting] = {
    "log-log": unweighted,
    "log-log-weighted": by_variance,
    "log-coverage": on_log_coverage,
}


def _straight(coverage: FloatArray) -> FloatArray:
    return np.asarray(np.log(-np.log(coverage)))


def _regress(k: FloatArray, coverage: FloatArray, weight: FloatArray) -> Lines:
    return Lines(*_line(k, coverage, weight), float(k[-1]), float(coverage[0, -1]))


def _line(k: FloatArray, coverage: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weighted least squares of each row: intercept and log exponent."""
    x, y, share = np.log(k), _straight(coverage), weight / weight.sum()
    centred = x - share @ x
    slope = y @ (share * centred) / (share @ centred**2)
    exponent = np.maximum(-slope, 1e-6)
    return y @ share + exponent * (share @ x), np.minimum(np.log(exponent), _STEEPEST)


def _log_coverage(
    intercept: FloatArray, log_exponent: FloatArray, log_k: FloatArray
) -> list[FloatArray]:
    exponent = np.exp(log_exponent)
    value = -np.exp(intercept - exponent * log_k)
    return [value, value, -value * exponent * log_k]
