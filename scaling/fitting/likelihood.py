"""Maximum likelihood of a law on counts of problems, many weightings at once.

The law declares the log-probability of one problem's counts; the core compiles it with gradient and
Hessian in free coordinates. Here a damped Newton method runs on all replicates together, over the
distinct (n, c) only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.core.law import Law
from scaling.core.objective import OBJECTIVES, Objective
from scaling.core.rates import BetaMixture, Latent
from scaling.core.special import log_choose
from scaling.core.support import EDGE
from scaling.fitting.least_squares import solve_small
from scaling.fitting.passk import UniqueCounts

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FARTHEST = EDGE  # free coordinates beyond this are at their bound
_FARTHEST_OF_INTEGRALS = float(np.log(1e6))  # beyond this, a quadrature has too few digits left
_NEAR_END = 12.0  # from here on, a coordinate that still gains outwards goes to its end at once
_INSIDE = 6.0  # where a coordinate between two ends may start
_INTEGRAL = 40  # what a cell of a law that is an integral costs, in cells of one Beta distribution
_SAMPLE = 2_000  # problems on which starting points compete
_LAST_STEP, _LAST_DAMPING = 1e-6, 1e-3
_LAST_GAIN = (
    1e-7  # of log-likelihood; the step is then exact to about its square, 1e-7 standard errors
)
_RUNNING = 0.5  # a last step longer than this goes along a flat direction, on and on
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
        objective: `likelihood` or one of its variants: counts of at least `objective.censor` successes enter
            as "at least that many", and `objective.prior` times the square of log alpha is taken off.
    """

    def __init__(
        self,
        law: Law,
        counts: UniqueCounts,
        objective: Objective = OBJECTIVES["likelihood"],
    ) -> None:
        self.p = len(law.params)
        self.closed = np.array([p.support.closed for p in law.params])
        self.farthest = farthest(law)
        self._terms = law.count_terms
        parts = len(law.rates.parts) if isinstance(law.rates, BetaMixture) else _INTEGRAL
        self.cost = len(counts.n) * parts
        # Some laws are integrals: each of their cells costs as much as its nodes.
        self.block = max(1, _BLOCK // (8 if isinstance(law.rates, Latent) else 1))
        n, c = counts.n.astype(float), counts.c.astype(float)
        self._tails: list[_Tail] = []
        self._exact = np.arange(len(n))
        if objective.censor is not None:
            beyond = (c >= objective.censor) & (n >= objective.censor)
            self._exact = np.flatnonzero(~beyond)
            for attempts in np.unique(n[beyond]):
                who = np.flatnonzero(beyond & (n == attempts))
                self._tails.append(_Tail.of(who, attempts, objective.censor))
        # One n for all problems is the common case: its terms are then computed once a replicate.
        n, self._c = n[self._exact], c[self._exact]
        self._n = n[:1] if len(n) and np.ptp(n) == 0 else n
        self.prior = np.array(
            [objective.prior * name.startswith("alpha") for name in law.names], dtype=float
        )

    def value(self, u: FloatArray, weights: FloatArray) -> FloatArray:
        """Shape (R,) for coordinates (R, p) and weights (R, U)."""
        return self.derivatives(u, weights)[0]

    def derivatives(
        self, u: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Value (R,), gradient (p, R) and Hessian (p, p, R)."""
        p = self.p
        whole = len(self._exact) == weights.shape[1]
        mine = weights if whole else weights[:, self._exact]
        sums = list(np.zeros((1 + p + p * (p + 1) // 2, len(u))))
        coordinates = [u[:, i, None] for i in range(p)]
        for cells, terms in self._cells(coordinates, max(1, self.block // len(u))):
            for i, t in enumerate(terms):
                shape = (len(u), cells.stop - cells.start)
                sums[i] += np.einsum("ru,ru->r", np.broadcast_to(t, shape), mine[:, cells])
        for tail in self._tails:
            tail_weight = weights[:, tail.who].sum(axis=1)
            sums = [
                a + tail_weight * b for a, b in zip(sums, self._tail_terms(u, tail), strict=True)
            ]
        hessian = np.empty((p, p, len(u)))
        upper = iter(sums[1 + p :])
        for i in range(p):
            for j in range(i, p):
                hessian[i, j] = hessian[j, i] = next(upper)
        gradient = np.stack(sums[1 : 1 + p])
        value = sums[0] - u**2 @ self.prior
        gradient -= 2 * self.prior[:, None] * u.T
        hessian[np.arange(p), np.arange(p)] -= 2 * self.prior[:, None]
        return value, gradient, hessian

    def log_likelihood(self, law: Law, u: FloatArray, weights: FloatArray) -> float:
        """With binomial coefficients and without the penalty, of the law at u (p,), weights (U,).

        By the law's own m(n, c), which is exact also at the ends of shares.
        """
        theta = law.bound(u)
        n, c = np.broadcast_to(self._n, self._c.shape), self._c
        cells = law.log_moment(theta, n, c, exact=True) + log_choose(n, c)
        out = float(weights[self._exact] @ cells)
        for tail in self._tails:
            mass = np.exp(law.log_moment(theta, tail.n, tail.c) + tail.log_choose).sum()
            chance = mass if tail.direct else max(1.0 - mass, _TINY)
            out += float(weights[tail.who].sum() * np.log(chance))
        return out

    def penalty(self, u: FloatArray) -> float:
        """What the prior adds to minus the log-likelihood at u (p,)."""
        return float(u**2 @ self.prior)

    def each(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient (U, p) and Hessian (U, p, p) of every distinct count, at one u of shape (p,)."""
        p = self.p
        parts = np.empty((1 + p + p * (p + 1) // 2, len(self._exact)))
        for cells, terms in self._cells(list(u), self.block):
            for i, t in enumerate(terms):
                parts[i, cells] = t
        who = [self._exact, *(tail.who for tail in self._tails)]
        parts = np.concatenate(
            [parts, *(
                np.repeat(np.stack(self._tail_terms(u[None], tail)), len(tail.who), axis=1)
                for tail in self._tails
            )],
            axis=1,
        )  # fmt: skip
        out = np.empty_like(parts)
        out[:, np.concatenate(who)] = parts
        hessian = np.empty((parts.shape[1], p, p))
        upper = iter(out[1 + p :])
        for i in range(p):
            for j in range(i, p):
                hessian[:, i, j] = hessian[:, j, i] = next(upper)
        return out[1 : 1 + p].T, hessian

    def _cells(
        self, u: Sequence[FloatArray], size: int
    ) -> Iterator[tuple[slice, list[FloatArray]]]:
        """The terms of the counts that stand for themselves, `size` counts at a time."""
        for i in range(0, len(self._c), size):
            cells = slice(i, min(i + size, len(self._c)))
            n = self._n if len(self._n) == 1 else self._n[cells]
            yield cells, self._terms(*u, n, self._c[cells])

    def _tail_terms(self, u: FloatArray, tail: _Tail) -> list[FloatArray]:
        """Logarithm of P(c >= m), its gradient and upper triangle of its Hessian, each of shape (R,)."""
        p = self.p
        log_p, *rest = self._terms(*(u[:, i, None] for i in range(p)), tail.n, tail.c)
        first, second = rest[:p], rest[p:]
        mass = np.exp(log_p + tail.log_choose)
        total = mass.sum(axis=1)
        # Of the counts below m, the probability is the complement.
        sign = 1.0 if tail.direct else -1.0
        chance = total if tail.direct else np.maximum(1.0 - total, _TINY)
        slopes = [sign * (mass * g).sum(axis=1) / chance for g in first]
        out = [np.log(np.maximum(chance, 1e-300)), *slopes]
        bends = iter(second)
        for i in range(p):
            for j in range(i, p):
                bend = sign * (mass * (next(bends) + first[i] * first[j])).sum(axis=1) / chance
                out.append(bend - slopes[i] * slopes[j])
        return out


_TINY = 1e-12  # a probability had as a complement is not known better


class _Tail(NamedTuple):
    """The counts of at least m successes in n attempts.

    Attributes:
        who: their places among the distinct counts.
        n, c: the counts whose probabilities are added up.
        log_choose: their log C(n, c).
        direct: whether these are the counts from m on, else those below.
    """

    who: NDArray[np.intp]
    n: FloatArray
    c: FloatArray
    log_choose: FloatArray
    direct: bool

    @classmethod
    def of(cls, who: NDArray[np.intp], n: float, m: int) -> _Tail:
        """The shorter sum, of the counts from m on or of those below."""
        direct = n - m + 1 <= m
        c = np.arange(m, n + 1) if direct else np.arange(float(m))
        return cls(who, np.array([n]), c.astype(float), log_choose(np.array(n), c), direct)


def maximise(
    likelihood: CountLikelihood,
    weights: FloatArray,
    start: FloatArray,
    *,
    fixed: BoolArray | None = None,
    iterations: int = 200,
) -> Maximum:
    """Damped Newton from `start`, row by row of `weights`.

    A coordinate between two finite ends (a share) that runs to one of them is set to that end and held
    there: in free coordinates the likelihood is flat towards it.

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
    block = max(1, likelihood.block // weights.shape[1])
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
    closed, far = likelihood.closed, likelihood.farthest
    start = np.where(closed & ~fixed, np.clip(start, -_INSIDE, _INSIDE), start)
    out = Maximum(start.copy(), np.full(rows, -np.inf), np.zeros(rows, dtype=bool))
    active, x, w, held = np.arange(rows), start.copy(), weights, fixed
    damping = np.full(rows, 1e-3)
    value, gradient, hessian = likelihood.derivatives(x, w)
    for _ in range(iterations):
        curvature = -hessian
        slope = np.where(held.T, 0.0, gradient)
        size = np.abs(np.einsum("iir->ir", curvature)) + 1e-200
        for i in range(p):
            curvature[i, i] += damping * size[i]
            for j in range(p):
                if i != j:
                    curvature[i, j] = np.where(held[:, i] | held[:, j], 0.0, curvature[i, j])
        curvature = _positive(curvature, size)
        step = np.clip(np.where(held.T, 0.0, solve_small(curvature, slope)), -2.0, 2.0).T
        trial = np.clip(x + step, -far, far)
        # A last step this small is exact to its square: no need to look where it leads.
        gain, longest = 0.5 * np.einsum("rp,pr->r", step, slope), np.abs(step).max(axis=1)
        settled = (damping < _LAST_DAMPING) & ((longest < _LAST_STEP) | (gain < _LAST_GAIN))
        if settled.any():
            finished, running = active[settled], settled & (longest > _RUNNING)
            trial[running] = _to_the_edge(x[running], step[running], far)
            out.coordinates[finished], out.converged[finished] = trial[settled], True
            out.log_likelihood[finished] = (value + gain)[settled]
            keep = ~settled
            active, x, trial, w, held = (a[keep] for a in (active, x, trial, w, held))
            damping, value = damping[keep], value[keep]
            gradient, hessian = gradient[:, keep], hessian[:, :, keep]
            if not len(active):
                break
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
        if closed.any():
            ending = closed & ~held & (np.abs(x) > _NEAR_END) & (gradient.T * np.sign(x) >= 0)
            x, held = np.where(ending, np.sign(x) * FARTHEST, x), held | ending
            done &= ~ending.any(axis=1)
        if done.any():
            finished = active[done]
            out.coordinates[finished], out.log_likelihood[finished] = x[done], value[done]
            out.converged[finished] = True
            keep = ~done
            active, x, w, held = active[keep], x[keep], w[keep], held[keep]
            damping, value = damping[keep], value[keep]
            gradient, hessian = gradient[:, keep], hessian[:, :, keep]
            if not len(active):
                break
    out.coordinates[active], out.log_likelihood[active] = x, value
    return out


def _to_the_edge(x: FloatArray, step: FloatArray, far: FloatArray) -> FloatArray:
    # Along a flat direction, as far as the search goes: parameters that run off together keep their ratio.
    room = np.where(step == 0, np.inf, (far - x * np.sign(step)) / np.maximum(np.abs(step), 1e-300))
    return np.asarray(np.clip(x + room.min(axis=1, keepdims=True) * step, -far, far))


def _positive(curvature: FloatArray, size: FloatArray) -> FloatArray:
    # Away from the maximum the Hessian may be indefinite: fall back on its diagonal there. Judged after
    # scaling to a unit diagonal, as the likelihood may be nearly flat in one coordinate alone.
    p = len(curvature)
    if p == 1:
        bad = curvature[0, 0] <= 0
    elif p == 2:
        bad = (curvature[0, 0] <= 0) | (
            curvature[0, 0] * curvature[1, 1] - curvature[0, 1] ** 2 <= 1e-14 * size[0] * size[1]
        )
    else:
        root = 1.0 / np.sqrt(size)
        scaled = np.moveaxis(curvature * root[:, None] * root[None, :], -1, 0)
        bad = np.linalg.eigvalsh(scaled)[:, 0] <= 1e-14
    if bad.any():
        for i in range(p):
            for j in range(p):
                curvature[i, j] = np.where(bad, size[i] if i == j else 0.0, curvature[i, j])
    return curvature


def fit_counts(
    law: Law, counts: UniqueCounts, objective: Objective = OBJECTIVES["likelihood"]
) -> Maximum:
    """The best of all the law's starting points; every field has one row.

    With very many distinct counts, the starting points compete on a sample of the problems, and the best
    goes on with all.
    """
    likelihood = CountLikelihood(law, counts, objective)
    multiplicity = counts.multiplicity.astype(float)
    starts = law.free(
        law.guess["counts"](counts.n.astype(float), counts.c.astype(float), multiplicity)
    )
    if len(counts.n) > 2 * _SAMPLE:
        drawn = np.random.default_rng(0).multivariate_hypergeometric(
            counts.multiplicity, _SAMPLE, method="marginals"
        )
        few = UniqueCounts(*(x[drawn > 0] for x in (counts.n, counts.c, drawn)))
        starts = fit_counts(law, few, objective).coordinates
    found = maximise(
        likelihood, np.broadcast_to(multiplicity, (len(starts), len(multiplicity))), starts
    )
    best = int(np.argmax(found.log_likelihood))
    one = slice(best, best + 1)
    return Maximum(
        canonical(law, found.coordinates[one]), found.log_likelihood[one], found.converged[one]
    )


def one_step(
    likelihood: CountLikelihood,
    weights: FloatArray,
    each: tuple[FloatArray, FloatArray],
    u: FloatArray,
) -> FloatArray:
    """One Newton step from the maximum of all the data towards that of each resample, shape (R, p).

    Of the same distribution as full refits up to terms of order 1/P in P problems (the estimate is smooth in
    the weights); it needs the derivatives at one point only.

    Args:
        likelihood: of law and counts.
        weights: shape (R, U).
        each: `likelihood.each(u)`.
        u: the maximum, shape (p,). A coordinate at the end of a share stays there.
    """
    p = likelihood.p
    free = ~(likelihood.closed & (np.abs(u) >= FARTHEST))
    gradient = weights @ each[0] - 2 * likelihood.prior * u
    hessian = weights @ each[1].reshape(-1, p * p)
    curvature = -hessian.reshape(-1, p, p) + 2 * np.diag(likelihood.prior)
    out = np.tile(u, (len(weights), 1))
    inner = np.ix_(np.arange(len(weights)), np.flatnonzero(free), np.flatnonzero(free))
    step = np.linalg.solve(curvature[inner], gradient[:, free, None])[..., 0]
    out[:, free] += np.clip(step, -2.0, 2.0)
    return out


def canonical(law: Law, coordinates: FloatArray) -> FloatArray:
    """Of the coordinates that say the same, those that are reported; shape (R, p)."""
    if law.canonical is None:
        return coordinates
    return law.free(law.canonical(law.bound(coordinates)))


def unbounded(law: Law, coordinates: FloatArray) -> BoolArray:
    """Which parameters stand for infinite ones, shape (R, p).

    Towards a degenerate limit the likelihood is flat, and several parameters run off together: the first
    to reach the edge of the search stops there, the others on the way.
    """
    endless = np.array([not p.support.closed for p in law.params])
    away = np.where(endless, np.abs(coordinates) / farthest(law), 0.0)
    run_off = away.max(axis=1, keepdims=True) >= 1 - 1e-7
    return np.asarray(run_off & (away > 0.5))


def farthest(law: Law) -> FloatArray:
    """How far the search goes in each free coordinate, shape (p,)."""
    endless = _FARTHEST_OF_INTEGRALS if isinstance(law.rates, Latent) else FARTHEST
    return np.array([FARTHEST if p.support.closed else endless for p in law.params])


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
    n, c, multiplicity = (x.astype(float) for x in counts)
    return float(multiplicity @ log_choose(n, c))


def profile_interval(
    likelihood: CountLikelihood,
    weights: FloatArray,
    best: Maximum,
    level: float,
    only: Sequence[int] | None = None,
) -> FloatArray:
    """Profile-likelihood intervals of all coordinates, or of some.

    The interval of a coordinate holds its values whose profile log-likelihood is within half the
    chi-square quantile (one degree of freedom) of the maximum. All ends are searched side by side, by
    doubling and then the Illinois variant of regula falsi.

    Args:
        likelihood: of law and counts.
        weights: shape (U,).
        best: the maximum, one row.
        level: for example 0.95.
        only: numbers of the coordinates wanted; None for all.

    Returns:
        Shape (p, 2) in free coordinates; an end is infinite where the profile stays above the
        threshold as far as the search goes. For a coordinate between two finite ends that is the end
        itself.
    """
    from scipy.special import chdtri

    p = likelihood.p
    drop = 0.5 * float(chdtri(1, 1 - level))
    centre, top = best.coordinates[0], float(best.log_likelihood[0])
    wanted = np.arange(p) if only is None else np.array(only, dtype=int)
    which = np.repeat(wanted, 2)  # rows: low and high end of each coordinate
    rows = np.arange(len(which))
    sign = np.tile([-1.0, 1.0], len(wanted))
    held = np.zeros((len(rows), p), dtype=bool)
    held[rows, which] = True
    w = np.broadcast_to(weights, (len(rows), len(weights)))
    start = np.broadcast_to(centre, (len(rows), p)).copy()

    def excess(position: FloatArray) -> FloatArray:
        start[rows, which] = position
        found = maximise(likelihood, w, start, fixed=held)
        start[:] = found.coordinates
        return np.asarray(found.log_likelihood - (top - drop))

    near, near_value = centre[which].copy(), np.full(len(rows), drop)
    reach = np.full(len(rows), 0.5)
    most = likelihood.farthest[which]
    far = np.clip(near + sign * reach, -most, most)
    far_value = excess(far)
    while ((far_value > 0) & (np.abs(far) < most)).any():
        out = far_value > 0
        near, near_value = np.where(out, far, near), np.where(out, far_value, near_value)
        reach *= 2
        far = np.where(out, np.clip(far + sign * reach, -most, most), far)
        far_value = excess(far)
    open_end = far_value > 0
    side = np.zeros(len(rows))
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
    beyond = np.where(likelihood.closed[which], FARTHEST, np.inf)
    return np.where(open_end, sign * beyond, middle).reshape(-1, 2)
