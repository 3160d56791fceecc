"""Nonparametric maximum likelihood of how success rates are spread over problems.

The counts alone, without the shape of any law: the best distribution of success rates, which is always
discrete, and all those that explain the counts nearly as well. What these disagree on, a law that goes
beyond the data assumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.data.distinct import UniqueCounts, unique_counts
from scaling.errors import InputError
from scaling.fitting.likelihood import log_binomials

FloatArray = NDArray[np.float64]
Kernel = Callable[[FloatArray], FloatArray]
"""From rates (J,) to the likelihood of each observation under each rate, (U, J), up to a factor a row."""

_STEP = 0.5  # of the grid, in standard deviations of an estimated rate
_PER_DECADE = 8  # points of the grid below what the attempts resolve
_MOST_POINTS = 4_000
_FINER = 8  # points between neighbours on the grid, around a local maximum
_CELLS = 4_000_000  # observations x rates evaluated together
_LOG_ZERO = -1e200
_ITERATIONS = 500
_GAP = 1e-5  # of the log-likelihood to its maximum
_GAP_OF_BOUNDS = 1e-4
_CLOSE = 1e-4  # of a bound


@dataclass(frozen=True)
class NPMLE:
    """The discrete distribution of success rates of the largest likelihood.

    Attributes:
        rates: increasing, shape (S,).
        weights: shares of the problems, positive, adding up to one, shape (S,).
        log_likelihood: of the counts, binomial coefficients included.
        gap: by how much the log-likelihood of any other distribution can exceed this at most: the largest
            directional derivative towards a single rate (Lindsay 1983), over a fine grid and its
            local maxima.
    """

    rates: FloatArray
    weights: FloatArray
    log_likelihood: float
    gap: float

    def coverage(self, k: ArrayLike) -> FloatArray:
        """1 - E (1-p)^k, shape (K,).

        Args:
            k: numbers of attempts, >= 0. Beyond the attempts in the log the likelihood does not determine
                it; `coverage_bounds` says how far.
        """
        at = np.atleast_1d(np.asarray(k, dtype=np.float64))
        return np.asarray(_solved(at, self.rates) @ self.weights)

    def posterior(self, n: ArrayLike, c: ArrayLike) -> FloatArray:
        """Probability of each rate for problems with known counts, shape (U, S).

        Args:
            n: attempts, shape (U,).
            c: successes, shape (U,), as in the counts that were fitted.
        """
        attempts, successes = (np.asarray(x, dtype=np.float64) for x in (n, c))
        share: FloatArray = _binomial(attempts, successes)(self.rates) * self.weights
        return np.asarray(share / share.sum(axis=1, keepdims=True))

    def draw_rates(self, n: ArrayLike, c: ArrayLike, rng: np.random.Generator) -> FloatArray:
        """One draw of the success rate of each problem given its counts, shape (P,).

        Args:
            n: attempts, shape (P,).
            c: successes, shape (P,).
            rng: source of randomness.
        """
        counts = unique_counts(n, c)
        place = counts.place(np.asarray(n, dtype=np.int64), np.asarray(c, dtype=np.int64))
        upto = np.cumsum(self.posterior(counts.n, counts.c), axis=1)
        upto[:, -1] = 1.0
        # One search for all: the distribution function of the u-th counts lies between u and u + 1.
        steps = (upto + np.arange(len(upto))[:, None]).ravel()
        at = np.searchsorted(steps, place + rng.random(len(place)), side="right")
        drawn: FloatArray = self.rates[
            np.minimum(at - place * len(self.rates), len(self.rates) - 1)
        ]
        return drawn


class CoverageBounds(NamedTuple):
    """The least and the most coverage that the counts allow at each k; all of shape (K,)."""

    k: FloatArray
    low: FloatArray
    high: FloatArray


def npmle(counts: UniqueCounts) -> NPMLE:
    """The distribution of success rates under which the counts are most likely.

    max over G of sum_u m_u log INT p^c_u (1-p)^(n_u-c_u) dG(p), a convex problem. Solved by the constrained
    Newton method of Wang (2007), On fast computation of the non-parametric maximum likelihood estimate of
    a mixing distribution, JRSS B 69: the rates at which the directional derivative has its local maxima
    are added, then all weights are moved by non-negative least squares. Rates are not tied to the grid: each
    local maximum is refined between its neighbours.

    Args:
        counts: distinct (n, c) and how many problems have them. The likelihood also holds for attempts
            that stopped at a success.

    Raises:
        InputError: for no problems, or counts outside 0 <= c <= n.
    """
    n, c, m = _checked(counts)
    kernel = _binomial(n, c)
    found = _maximise(kernel, m, _grid(float(n.max())), _start(n, c))
    return NPMLE(
        found.rates,
        found.weights,
        found.value + float(m @ _log_top(n, c)) + log_binomials(counts),
        found.gap,
    )


def coverage_bounds(counts: UniqueCounts, k: ArrayLike, level: float = 0.95) -> CoverageBounds:
    """The least and the most coverage over all distributions of rates that the counts allow.

    Allowed is a distribution whose log-likelihood is within half the chi-square quantile (one degree of freedom)
    of the maximum: a profile-likelihood interval of coverage at each k. Up to the attempts in the log it
    is as narrow as the problems permit; beyond, it shows what is known without a law.

    The upper end maximises the log-likelihood plus a log coverage(k), that is, with `a` further problems of which
    only is known that k attempts solved them; the lower one with `a` problems that k attempts did not
    solve. The larger a, the farther from the data; it is searched for.

    Args:
        counts: distinct (n, c) and how many problems have them.
        k: numbers of attempts, >= 1, shape (K,).
        level: for example 0.95.

    Raises:
        InputError: for counts, k or level out of range.
    """
    from scipy.special import chdtri

    n, c, m = _checked(counts)
    at = np.atleast_1d(np.asarray(k, dtype=np.float64))
    wrong = ~(np.isfinite(at) & (at >= 1))
    if wrong.any():
        raise InputError(f"coverage is bounded for finite k >= 1, not for {at[wrong][0]:g}")
    if not 0 < level < 1:
        raise InputError(f"a level lies between 0 and 1, not at {level:g}; 0.95 is usual")
    drop = 0.5 * float(chdtri(1, 1 - level))
    kernel = _binomial(n, c)
    best = _maximise(kernel, m, _grid(float(n.max())), _start(n, c))
    low, high = np.empty(len(at)), np.empty(len(at))
    for i, x in enumerate(at):
        grid = _grid(float(n.max()), float(x))
        low[i] = 1 - _farthest(kernel, m, grid, best, drop, lambda p, x=x: 1 - _solved(x, p))  # type: ignore[misc]
        high[i] = _farthest(kernel, m, grid, best, drop, lambda p, x=x: _solved(x, p))  # type: ignore[misc]
    return CoverageBounds(at, low, high)


class _Found(NamedTuple):
    rates: FloatArray
    weights: FloatArray
    value: float  # log-likelihood, up to the factors of the kernel
    gap: float


def _farthest(
    kernel: Kernel,
    m: FloatArray,
    grid: FloatArray,
    best: _Found,
    drop: float,
    chance: Callable[[FloatArray], FloatArray],
) -> float:
    """The largest E chance(p) over distributions within `drop` of the largest log-likelihood."""

    def tilted(p: FloatArray) -> FloatArray:
        return np.concatenate([kernel(p), chance(p)[None]])

    def solve(log_a: float, start: _Found) -> tuple[float, float, _Found]:
        # Rates 0 and 1 make either kind of further problem possible.
        rates = np.concatenate([[0.0, 1.0], start.rates])
        weights = np.concatenate([[5e-4, 5e-4], 0.999 * start.weights])
        more = np.append(m, np.exp(log_a))
        found = _maximise(tilted, more, grid, (rates, weights), _GAP_OF_BOUNDS)
        mean = float(chance(found.rates) @ found.weights)
        value = float(m @ np.log(kernel(found.rates) @ found.weights))
        return mean, best.value - value, found

    problems = float(m.sum())
    inside, outside = np.log(1e-4 * problems), np.log(1e4 * problems)
    # The step from inside to outside is found by doubling a, then halved; the ends close in on the bound.
    mean, lost, start = solve(inside, best)
    if lost > drop:
        return mean
    upper, step, beyond = 1.0, 2.0, False
    while upper - mean > _CLOSE:
        middle = min(inside + step, outside) if not beyond else 0.5 * (inside + outside)
        new, lost, found = solve(middle, start)
        if lost > drop:
            outside, upper, beyond = middle, new, True
        elif middle >= outside:
            return new  # no distribution is excluded: all problems alike, at one end
        else:
            inside, mean, start = middle, new, found
        if outside - inside < 1e-6:
            break
    return upper


def _start(n: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Observed rates, one at least within two standard deviations of each, with equal weights."""
    rate = np.unique(c / n)
    _, first = np.unique(np.floor(np.arcsin(np.sqrt(rate)) * np.sqrt(n.max())), return_index=True)
    return rate[first], np.full(len(first), 1 / len(first))


def _maximise(
    kernel: Kernel,
    m: FloatArray,
    grid: FloatArray,
    start: tuple[FloatArray, FloatArray],
    enough: float = _GAP,
) -> _Found:
    """Maximise m @ log(kernel @ weights) from rates and weights that make every observation possible."""
    total = float(m.sum())
    rates, weights = start
    table = kernel(rates)
    f = table @ weights
    value, gap = float(m @ np.log(f)), np.inf
    for _ in range(_ITERATIONS):
        towards = m / f
        new = _local_maxima(kernel, towards, grid)
        derivative = _slope(kernel, towards, np.concatenate([new, rates])) - total
        gap = max(float(derivative.max()), 0.0)
        if gap <= enough:
            break
        rates = np.concatenate([rates, new])
        weights = np.concatenate([weights, np.zeros(len(new))])
        table = np.concatenate([table, kernel(new)], axis=1)
        aim = _newton_weights(table / f[:, None], m)
        rise = float(towards @ (table @ (aim - weights)))
        if rise <= 0:
            break
        size = 1.0
        while size > 1e-12:
            trial = (1 - size) * weights + size * aim
            f_trial = table @ trial
            with np.errstate(divide="ignore"):
                value_trial = float(m @ np.log(f_trial))
            if value_trial >= value + 0.1 * size * rise:
                break
            size /= 2
        else:
            break
        kept = trial > 1e-14
        rates, weights, table = rates[kept], trial[kept] / trial[kept].sum(), table[:, kept]
        f = table @ weights
        value = float(m @ np.log(f))
    order = np.argsort(rates)
    return _Found(rates[order], weights[order], value, gap)


def _newton_weights(s: FloatArray, m: FloatArray) -> FloatArray:
    """Weights that maximise the quadratic approximation of the log-likelihood on the simplex.

    min sum_u m_u (S w - 2)_u^2 over w >= 0 with sum w = 1, where S has the likelihoods relative to the present
    mixture. The constraint makes it homogeneous, and then it may be had by scaling (Dax 1990).
    """
    from scipy.optimize import nnls

    root = np.asarray(np.linalg.qr(np.sqrt(m)[:, None] * (s - 2), mode="r"), dtype=np.float64)
    root /= max(float(np.abs(root).max()), 1e-300)
    aim = np.append(np.zeros(len(root)), 1.0)
    w, _ = nnls(np.concatenate([root, np.ones((1, s.shape[1]))]), aim)
    return np.asarray(w / w.sum())


def _local_maxima(kernel: Kernel, towards: FloatArray, grid: FloatArray) -> FloatArray:
    slope = _slope(kernel, towards, grid)
    padded = np.concatenate([[-np.inf], slope, [-np.inf]])
    (top,) = np.nonzero((slope >= padded[:-2]) & (slope > padded[2:]))
    left, middle, right = (
        grid[np.maximum(top - 1, 0)],
        grid[top],
        grid[np.minimum(top + 1, len(grid) - 1)],
    )
    share = np.arange(_FINER + 1) / _FINER
    fine = np.concatenate(
        [
            left[:, None] + (middle - left)[:, None] * share,
            middle[:, None] + (right - middle)[:, None] * share[1:],
        ],
        axis=1,
    )
    height = _slope(kernel, towards, fine.ravel()).reshape(fine.shape)
    # The vertex of the parabola through the highest point and its neighbours.
    rows = np.arange(len(top))
    at = np.clip(np.argmax(height, axis=1), 1, fine.shape[1] - 2)
    x, y = (
        fine[rows[:, None], at[:, None] + [-1, 0, 1]],
        height[rows[:, None], at[:, None] + [-1, 0, 1]],
    )
    d, e = x[:, 0] - x[:, 1], x[:, 2] - x[:, 1]
    up, down = y[:, 0] - y[:, 1], y[:, 2] - y[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = x[:, 1] + 0.5 * (up * e * e - down * d * d) / (up * e - down * d)
    found = np.where(np.isfinite(vertex), np.clip(vertex, x[:, 0], x[:, 2]), x[:, 1])
    return np.unique(np.concatenate([found, grid[[0, -1]]]))


def _slope(kernel: Kernel, towards: FloatArray, p: FloatArray) -> FloatArray:
    block = max(1, _CELLS // len(towards))
    return np.concatenate([towards @ kernel(p[i : i + block]) for i in range(0, len(p), block)])


def _grid(n: float, k: float = 1.0) -> FloatArray:
    """Rates from 0 to 1: even where the attempts resolve them, log-spaced below."""
    # arcsin sqrt of an observed rate has the standard deviation 1 / (2 sqrt n) everywhere
    steps = min(int(np.ceil(np.pi * np.sqrt(n) / _STEP)), _MOST_POINTS)
    even = np.sin(np.linspace(0, np.pi / 2, steps + 1)) ** 2
    lowest = min(0.01 / max(n, k), even[1] / 2)
    points = int(np.ceil(_PER_DECADE * np.log10(even[1] / lowest))) + 1
    return np.concatenate([[0.0], np.geomspace(lowest, even[1], points)[:-1], even[1:-1], [1.0]])


def _binomial(n: FloatArray, c: FloatArray) -> Kernel:
    """p^c (1-p)^(n-c) relative to its maximum, at p = c/n."""
    top, failed = _log_top(n, c), n - c

    def kernel(p: FloatArray) -> FloatArray:
        # A finite stand-in for log 0: times no successes it is zero, times any it is the end of exp.
        log_p = np.where(p > 0, np.log(np.maximum(p, 1e-300)), _LOG_ZERO)
        log_q = np.where(p < 1, np.log1p(-np.minimum(p, 1 - 1e-16)), _LOG_ZERO)
        log = np.multiply.outer(c, log_p)
        log += np.multiply.outer(failed, log_q)
        log -= top[:, None]
        return np.exp(log, out=log)

    return kernel


def _log_top(n: FloatArray, c: FloatArray) -> FloatArray:
    from scipy.special import xlog1py, xlogy

    return np.asarray(xlogy(c, c / n) + xlog1py(n - c, -c / n))


def _solved(k: FloatArray | float, p: FloatArray) -> FloatArray:
    """1 - (1-p)^k, shape (K, J), or (J,) for a number k."""
    from scipy.special import xlog1py

    return np.asarray(-np.expm1(xlog1py(k if np.ndim(k) == 0 else np.asarray(k)[:, None], -p)))


def _checked(counts: UniqueCounts) -> tuple[FloatArray, FloatArray, FloatArray]:
    n, c, m = (np.asarray(x, dtype=np.float64) for x in counts)
    if not len(n) or not m.sum() > 0:
        raise InputError("no problems: a distribution over problems needs at least one")
    wrong = ~((n >= 1) & (c >= 0) & (c <= n) & (m >= 0))
    if wrong.any():
        raise InputError(
            f"n = {n[wrong][0]:g} and c = {c[wrong][0]:g}: counts with 0 <= c <= n and n >= 1 are needed; check "
            "that n and c are not exchanged"
        )
    used = m > 0
    return n[used], c[used], m[used]
