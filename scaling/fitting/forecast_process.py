"""A coverage curve whose slope wanders: a line that may bend, and how far it may bend beyond the data.

y(k) = log(-log coverage(k)) is a straight line in x = log k where coverage is an exponentiated power law.
Here its slope is a random process instead of a number,

    y(x) = u + v x + INT_0^x w(t) dt,

with a flat u, v ~ Normal(-0.2, 0.3^2) and w an Ornstein-Uhlenbeck process of standard deviation `tau` that
forgets over six e-foldings. Measured slopes change by about 0.06 to 0.2 over two decades, in either direction:
up while few problems are solved, down near a ceiling. `tau` is averaged over by its marginal likelihood.
Given the curve all this is Gaussian and in closed form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.data.distinct import UniqueCounts
from scaling.fitting import population
from scaling.fitting.passk import pass_at_k

FloatArray = NDArray[np.float64]

_SLOPE = (-0.2, 0.3)  # mean and standard deviation
_TAU = (0.06, 0.12, 0.24)
_MEMORY = 6.0  # of the slope, in e-foldings of attempts
_VAGUE = 100.0  # variance of u
_NUGGET = 1e-4  # variance of y that no curve explains
_TOP = 1 - 1e-9
_REPLICATES = 300
_STEP = 0.25
_X = np.arange(0.0, 24.0 + _STEP, _STEP)  # up to 2.6e10 attempts


class Curves:
    """Draws of the curve on a grid of log attempts, y of shape (R, G)."""

    def __init__(self, these: FloatArray, new: FloatArray) -> None:
        self._these = np.minimum.accumulate(these, axis=1)
        self._new = np.minimum.accumulate(new, axis=1)

    def unsolved(self, k: ArrayLike) -> FloatArray:
        """One minus the coverage of new problems at `k` of shape (K,), shape (R, K)."""
        return _unsolved(self._new, k)

    def left(self, n: ArrayLike, k: ArrayLike) -> FloatArray:
        """Chance that one of these problems, unsolved in n attempts, is so in k >= n; shape (R, K)."""
        return np.asarray(_unsolved(self._these, k) / np.maximum(_unsolved(self._these, n), 1e-300))


def _unsolved(y: FloatArray, k: ArrayLike) -> FloatArray:
    x = np.log(np.asarray(k, dtype=np.float64))
    right = np.clip(np.searchsorted(_X, x), 1, len(_X) - 1)
    share = (x - _X[right - 1]) / _STEP
    at = y[:, right - 1] * (1 - share) + y[:, right] * share
    return np.asarray(-np.expm1(-np.exp(at)))


def draw(
    counts: UniqueCounts,
    k: FloatArray,
    coverage: FloatArray,
    rng: np.random.Generator,
    draws: int,
) -> Curves:
    """Draws of the curve given coverage up to the fewest attempts at any problem.

    Args:
        counts: what the coverage was estimated from.
        k: attempts, shape (K,).
        coverage: shape (1 + R, K): of all problems alike, then of R random weightings of them.
        rng: of the draws.
        draws: how many.
    """
    y = _straight(coverage)
    these = _posterior(np.log(k), y[0], luck(counts, k, rng), rng, draws)
    new = _posterior(np.log(k), y[0], np.cov(y[1:].T), rng, draws)
    return Curves(these, new)


def _straight(coverage: FloatArray) -> FloatArray:
    return np.asarray(np.log(-np.log(np.clip(coverage, 1e-300, _TOP))))


def luck(counts: UniqueCounts, k: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Covariance of y at `k` from the luck of the attempts, the problems given; shape (K, K).

    Rates are drawn from each problem's posterior and attempts from the rates, many times.
    """
    n = np.repeat(counts.n, counts.multiplicity)
    rates = population.rates_given(counts, rng, _REPLICATES)
    again = rng.binomial(n, rates)
    base = int(n.max()) + 1
    pairs, places = np.unique(n * base + again, return_inverse=True)
    table = pass_at_k((pairs // base)[:, None], (pairs % base)[:, None], k[None, :])
    seen = table[places.reshape(again.shape)].mean(axis=1)
    miss = np.log1p(-rates)
    expected = np.stack([-np.expm1(miss * one).mean(axis=1) for one in k], axis=1)
    return np.cov((_straight(seen) - _straight(expected)).T)


def _kernel(x: FloatArray, z: FloatArray, tau: float) -> FloatArray:
    """Prior covariance of y, shape (X, Z)."""
    a, b, m = x[:, None], z[None, :], _MEMORY
    wander = 2 * m * np.minimum(a, b) - m**2 * (
        1 - np.exp(-a / m) - np.exp(-b / m) + np.exp(-np.abs(a - b) / m)
    )
    return np.asarray(_VAGUE + _SLOPE[1] ** 2 * a * b + tau**2 * wander)


def _posterior(
    x: FloatArray, y: FloatArray, noise: FloatArray, rng: np.random.Generator, draws: int
) -> FloatArray:
    """Draws of y on the grid, shape (draws, G), from the mixture over `tau`."""
    residual = y - _SLOPE[0] * x
    found, evidence = [], []
    for tau in _TAU:
        own = _kernel(x, x, tau) + noise + _NUGGET * np.eye(len(x))
        cross = _kernel(_X, x, tau)
        solved = np.linalg.solve(own, np.c_[residual, cross.T])
        mean = _SLOPE[0] * _X + cross @ solved[:, 0]
        covariance = _kernel(_X, _X, tau) - cross @ solved[:, 1:]
        found.append((mean, covariance))
        evidence.append(-0.5 * (residual @ solved[:, 0] + np.linalg.slogdet(own)[1]))
    weight = np.exp(np.array(evidence) - max(evidence))
    ends = np.rint(np.cumsum(weight / weight.sum()) * draws).astype(int)
    parts = []
    for (mean, covariance), size in zip(found, np.diff(ends, prepend=0), strict=True):
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        parts.append(mean + rng.standard_normal((size, len(_X))) @ root.T)
    return rng.permutation(np.concatenate(parts))
