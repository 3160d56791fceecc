"""Maximum likelihood of a law on counts of problems, many weightings at once.

The law declares the log-probability of one problem's counts; the core compiles it with gradient and
Hessian in free coordinates. Here a damped Newton method runs on all replicates together, over the
distinct (n, c) only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.core.law import Law
from scaling.fitting.least_squares import solve_small
from scaling.fitting.passk import UniqueCounts

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FARTHEST = np.log(1e9)  # free coordinates beyond this are at their bound
_BLOCK = (
    30_000  # cells (replicates x distinct counts) evaluated together, so that they stay in cache
)


class Maximum(NamedTuple):
    """Coordinates (R, p), log-likelihood without binomial coefficients (R,), and convergence (R,)."""

    coordinates: FloatArray
    log_likelihood: FloatArray
    converged: BoolArray


class CountLikelihood:
    """The weighted log-likelihood of a law on distinct counts.

    Args:
        law: a law with a formula for counts.
        counts: distinct (n, c); their multiplicities are not used, weights are given at each call.
    """

    def __init__(self, law: Law, counts: UniqueCounts) -> None:
        self.p = len(law.params)
        self._terms = law.count_terms
        # One n for all problems is the common case: its terms are then computed once a replicate.
        self._n = counts.n[:1].astype(float) if np.ptp(counts.n) == 0 else counts.n.astype(float)
        self._c = counts.c.astype(float)

    def value(self, u: FloatArray, weights: FloatArray) -> FloatArray:
        """Shape (R,) for coordinates (R, p) and weights (R, U)."""
        return self.derivatives(u, weights)[0]

    def derivatives(
        self, u: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Value (R,), gradient (p, R) and Hessian (p, p, R)."""
        p, shape = self.p, (len(u), len(self._c))
        terms = self._terms(*(u[:, i, None] for i in range(p)), self._n, self._c)
        sums = [np.einsum("ru,ru->r", np.broadcast_to(t, shape), weights) for t in terms]
        hessian = np.empty((p, p, len(u)))
        upper = iter(sums[1 + p :])
        for i in range(p):
            for j in range(i, p):
                hessian[i, j] = hessian[j, i] = next(upper)
        return sums[0], np.stack(sums[1 : 1 + p]), hessian


def maximise(
    likelihood: CountLikelihood,
    weights: FloatArray,
    start: FloatArray,
    *,
    fixed: BoolArray | None = None,
    iterations: int = 200,
) -> Maximum:
    """Damped Newton from `start`, row by row of `weights`.

    Args:
        likelihood: of law and counts.
        weights: shape (R, U).
        start: shape (p,) or (R, p).
        fixed: shape (R, p), coordinates held at their start; None for none.
        iterations: the most steps.
    """
    rows = len(weights)
    start = np.broadcast_to(start, (rows, likelihood.p))
    fixed = np.zeros((rows, likelihood.p), dtype=bool) if fixed is None else fixed
    block = max(1, _BLOCK // weights.shape[1])
    parts = [
        _maximise(
            likelihood,
            weights[i : i + block],
            start[i : i + block],
            fixed[i : i + block],
            iterations,
        )
        for i in range(0, rows, block)
    ]
    return Maximum(
        np.concatenate([part.coordinates for part in parts]),
        np.concatenate([part.log_likelihood for part in parts]),
        np.concatenate([part.converged for part in parts]),
    )


def _maximise(
    likelihood: CountLikelihood,
    weights: FloatArray,
    start: FloatArray,
    fixed: BoolArray,
    iterations: int,
) -> Maximum:
    rows, p = start.shape
    out = Maximum(start.copy(), np.full(rows, -np.inf), np.zeros(rows, dtype=bool))
    active, x, w, held = np.arange(rows), start.copy(), weights, fixed
    scale = 1.0 / np.maximum(w.sum(axis=1), 1e-300)
    damping = np.full(rows, 1e-3)
    value, gradient, hessian = likelihood.derivatives(x, w)
    for _ in range(iterations):
        curvature = -hessian
        slope = np.where(held.T, 0.0, gradient)
        size = np.abs(np.einsum("iir->ir", curvature)) + 1e-12 / scale
        for i in range(p):
            curvature[i, i] += damping * size[i]
            for j in range(p):
                if i != j:
                    curvature[i, j] = np.where(held[:, i] | held[:, j], 0.0, curvature[i, j])
        curvature = _positive(curvature, size)
        step = np.clip(np.where(held.T, 0.0, solve_small(curvature, slope)), -2.0, 2.0).T
        trial = np.clip(x + step, -FARTHEST, FARTHEST)
        new_value, new_gradient, new_hessian = likelihood.derivatives(trial, w)
        better = new_value >= value - 1e-14 * np.abs(value)
        moved = np.abs(trial - x).max(axis=1)
        done = (better & (moved < 1e-9)) | (~better & (damping > 1e10))
        damping = np.where(
            better, np.maximum(damping * 0.1, 1e-12), np.maximum(damping, 1e-6) * 10.0
        )
        x = np.where(better[:, None], trial, x)
        value = np.where(better, new_value, value)
        gradient = np.where(better, new_gradient, gradient)
        hessian = np.where(better, new_hessian, hessian)
        if done.any():
            finished = active[done]
            out.coordinates[finished], out.log_likelihood[finished] = x[done], value[done]
            out.converged[finished] = True
            keep = ~done
            active, x, w, held, scale = active[keep], x[keep], w[keep], held[keep], scale[keep]
            damping, value = damping[keep], value[keep]
            gradient, hessian = gradient[:, keep], hessian[:, :, keep]
            if not len(active):
                break
    out.coordinates[active], out.log_likelihood[active] = x, value
    return out


def _positive(curvature: FloatArray, size: FloatArray) -> FloatArray:
    # Away from the maximum the Hessian may be indefinite: fall back on its diagonal there.
    p = len(curvature)
    if p == 1:
        bad = curvature[0, 0] <= 0
    elif p == 2:
        bad = (curvature[0, 0] <= 0) | (
            curvature[0, 0] * curvature[1, 1] - curvature[0, 1] ** 2 <= 1e-14 * size[0] * size[1]
        )
    else:
        bad = np.linalg.eigvalsh(np.moveaxis(curvature, -1, 0))[:, 0] <= 0
    if bad.any():
        for i in range(p):
            for j in range(p):
                curvature[i, j] = np.where(bad, size[i] if i == j else 0.0, curvature[i, j])
    return curvature


def fit_counts(law: Law, counts: UniqueCounts) -> Maximum:
    """The best of all the law's starting points; every field has one row."""
    likelihood = CountLikelihood(law, counts)
    multiplicity = counts.multiplicity.astype(float)
    starts = law.free(
        law.guess["counts"](counts.n.astype(float), counts.c.astype(float), multiplicity)
    )
    found = maximise(
        likelihood, np.broadcast_to(multiplicity, (len(starts), len(multiplicity))), starts
    )
    best = int(np.argmax(found.log_likelihood))
    one = slice(best, best + 1)
    return Maximum(found.coordinates[one], found.log_likelihood[one], found.converged[one])


class Limits(NamedTuple):
    """Log-likelihoods, without binomial coefficients, of the two laws that need no distribution."""

    homogeneous: float
    all_or_nothing: float


def limits(counts: UniqueCounts) -> Limits:
    """One success rate for all problems, and problems that are always or never solved.

    Where a law of two parameters does no better than one of these, the data do not identify it
    (alpha -> infinity and alpha -> 0 of a beta-binomial).
    """
    n, c, m = (x.astype(float) for x in counts)

    def binary(successes: float, attempts: float) -> float:
        rate = successes / attempts
        lost = attempts - successes
        return float(
            (successes * np.log(rate) if successes else 0.0)
            + (lost * np.log1p(-rate) if lost else 0.0)
        )

    all_or_nothing = -np.inf
    if np.all((c == 0) | (c == n)):
        all_or_nothing = binary(float(m[c == n].sum()), float(m.sum()))
    return Limits(binary(float(m @ c), float(m @ n)), all_or_nothing)


def without_spread(counts: UniqueCounts, weights: FloatArray, found: Maximum) -> BoolArray:
    """Which replicates (R,) do no better than one success rate for all problems.

    Towards that limit the likelihood is flat and the optimiser stops somewhere on the way: what such a
    replicate predicts is right, but its parameters stand for infinite ones.
    """
    n, c = counts.n.astype(float), counts.c.astype(float)
    tries = weights @ n
    rate = np.clip(weights @ c / tries, 1e-300, 1 - 1e-16)
    homogeneous = tries * (rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    return np.asarray(found.log_likelihood - homogeneous < 1e-3)


def log_binomials(counts: UniqueCounts) -> float:
    """Sum over problems of log C(n, c), the part of the likelihood without parameters."""
    from scaling.core.special import log_rising

    fewer = np.minimum(counts.c, counts.n - counts.c).astype(float)
    return float(
        counts.multiplicity @ (log_rising(counts.n - fewer + 1.0, fewer) - log_rising(1.0, fewer))
    )


def profile_interval(
    likelihood: CountLikelihood, weights: FloatArray, best: Maximum, level: float
) -> FloatArray:
    """Profile-likelihood intervals of all coordinates.

    The interval of a coordinate holds its values whose profile log-likelihood is within half the
    chi-square quantile (one degree of freedom) of the maximum. All ends are searched side by side, by
    doubling and then the Illinois variant of regula falsi.

    Args:
        likelihood: of law and counts.
        weights: shape (U,).
        best: the maximum, one row.
        level: for example 0.95.

    Returns:
        Shape (p, 2) in free coordinates; an end is infinite where the profile stays above the
        threshold as far as the search goes.
    """
    from scipy.special import chdtri

    p = likelihood.p
    drop = 0.5 * float(chdtri(1, 1 - level))
    centre, top = best.coordinates[0], float(best.log_likelihood[0])
    which = np.repeat(np.arange(p), 2)  # rows: low and high end of each coordinate
    sign = np.tile([-1.0, 1.0], p)
    held = np.zeros((2 * p, p), dtype=bool)
    held[np.arange(2 * p), which] = True
    w = np.broadcast_to(weights, (2 * p, len(weights)))
    start = np.broadcast_to(centre, (2 * p, p)).copy()

    def excess(position: FloatArray) -> FloatArray:
        start[np.arange(2 * p), which] = position
        found = maximise(likelihood, w, start, fixed=held)
        start[:] = found.coordinates
        return np.asarray(found.log_likelihood - (top - drop))

    near, near_value = centre[which].copy(), np.full(2 * p, drop)
    reach = np.full(2 * p, 0.5)
    far = np.clip(near + sign * reach, -FARTHEST, FARTHEST)
    far_value = excess(far)
    while ((far_value > 0) & (np.abs(far) < FARTHEST)).any():
        out = far_value > 0
        near, near_value = np.where(out, far, near), np.where(out, far_value, near_value)
        reach *= 2
        far = np.where(out, np.clip(far + sign * reach, -FARTHEST, FARTHEST), far)
        far_value = excess(far)
    open_end = far_value > 0
    side = np.zeros(2 * p)
    middle = far
    for _ in range(60):
        gap = np.where(open_end, 1.0, near_value - far_value)
        middle = np.where(
            open_end, far, far + far_value * (far - near) / np.where(gap == 0, 1.0, gap)
        )
        middle_value = excess(middle)
        inside = middle_value > 0
        near_value = np.where(inside, middle_value, np.where(side < 0, near_value / 2, near_value))
        far_value = np.where(inside, np.where(side > 0, far_value / 2, far_value), middle_value)
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
        side = np.where(inside, 1.0, -1.0)
        if np.all(open_end | (np.abs(middle_value) < 1e-7) | (np.abs(far - near) < 1e-9)):
            break
    return np.where(open_end, sign * np.inf, middle).reshape(p, 2)
