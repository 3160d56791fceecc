"""Forecasters of coverage beyond the data: the published rivals and our own, by one protocol.

Curves and count laws answer as their papers do, for problems like these; our own forecaster and the
forecasters without a population answer for these problems.

A forecaster takes many logs of the same problems at once, so that all thinnings of a backtest and all
their bootstrap replicates are one batch over the distinct counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.core import registry
from scaling.core.special import log_beta_ratio, log_scaled_beta_moment
from scaling.data.distinct import UniqueCounts
from scaling.errors import UsageError, did_you_mean
from scaling.fitting import passk
from scaling.fitting.likelihood import CountLikelihood, Maximum, maximise, without_spread
from scaling.fitting.objectives import solve_curve
from scaling.fitting.plan import Plan
from scaling.fitting.result import IntervalSpec

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
IntervalKind = Literal["bootstrap", "own", "none"]

POINTS = 20  # of a curve
KAZDAN = (
    0.01,
    100.0,
)  # bounds of alpha and beta in the code of Kazdan et al. and of Schaeffer et al.
_STEPS = 30  # of Newton's method for a replicate, from the optimum of the log
_FLAT = 1e-12  # a curve that rises less than this shows no law


class Logs(NamedTuple):
    """R logs with the same number of attempts at each of P problems.

    Attributes:
        counts: the distinct (n, c) of all logs; one n.
        weights: how many problems of each log have them, shape (R, U).
    """

    counts: UniqueCounts
    weights: FloatArray

    def one(self, row: int) -> UniqueCounts:
        """The distinct counts of one log."""
        there = self.weights[row] > 0
        multiplicity = self.weights[row][there].round().astype(np.int64)
        return UniqueCounts(self.counts.n[there], self.counts.c[there], multiplicity)


class Point(NamedTuple):
    """Estimates of coverage (R, K), NaN where a log has none, and where to start a refit (R, p)."""

    estimate: FloatArray
    coordinates: FloatArray


class Band(NamedTuple):
    """Estimates (R, K) with intervals for the realised coverage, None where the forecaster has none."""

    estimate: FloatArray
    low: FloatArray | None
    high: FloatArray | None


Predict = Callable[[Logs, FloatArray, FloatArray | None], Point]
"""From logs, numbers of attempts (K,) and starts (R, p) or None to estimates."""
Forecast = Callable[[Logs, FloatArray, float, int], Band]
"""From logs, numbers of attempts (K,), level and seed to estimates with intervals of its own."""


@dataclass(frozen=True)
class Rival:
    """A forecaster by name.

    Attributes:
        name: what users type.
        meaning: one line, with its source.
        predict: point estimates, to be refitted to resampled problems; None where it is a `forecast`.
        forecast: estimates with intervals of its own, None for all others.
        resampled: whether a bootstrap over problems gives its interval.
    """

    name: str
    meaning: str
    predict: Predict | None = None
    forecast: Forecast | None = None
    resampled: bool = True

    @property
    def interval(self) -> IntervalKind:
        """How its interval is made."""
        if self.forecast:
            return "own"
        return "bootstrap" if self.resampled else "none"

    def run(
        self, logs: Logs, k: FloatArray, resamples: FloatArray | None, level: float, seed: int
    ) -> Band:
        """Estimates and intervals for each log.

        Args:
            logs: R logs.
            k: shape (K,).
            resamples: weights of B resamples of the problems of each log, shape (R, B, U); None for no
                intervals.
            level: of the intervals, which are percentiles of the resampled estimates.
            seed: of a forecaster that draws.
        """
        if self.forecast:
            return self.forecast(logs, k, level, seed)
        assert self.predict  # noqa: S101
        point = self.predict(logs, k, None)
        if resamples is None or not self.resampled:
            return Band(point.estimate, None, None)
        replicates, distinct = resamples.shape[1:]
        # A log without a fit gives its replicates no start; they have no interval either.
        fitted = np.isfinite(point.estimate).all(axis=1)
        low, high = np.full((2, *point.estimate.shape), np.nan)
        if fitted.any():
            weights = resamples[fitted].reshape(-1, distinct)
            start = np.repeat(point.coordinates[fitted], replicates, axis=0)
            estimate = self.predict(Logs(logs.counts, weights), k, start).estimate
            # Where a resample has no success, a forecaster of curves has nothing to say but zero.
            unsolved = ~(weights @ (logs.counts.c > 0) > 0)
            estimate[unsolved] = np.nan_to_num(estimate[unsolved], nan=0.0)
            ends = _quantiles(estimate.reshape(-1, replicates, len(k)), level)
            low[fitted], high[fitted] = ends
        return Band(point.estimate, low, high)


def _quantiles(draws: FloatArray, level: float) -> FloatArray:
    # Over axis 1, leaving out replicates without a fit; NaN where more than half have none.
    lacking = np.isnan(draws).mean(axis=1) > 0.5
    filled = np.where(lacking[:, None], 0.0, draws)
    ends = np.nanquantile(filled, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return np.where(lacking, np.nan, ends)


# -- curves -------------------------------------------------------------------------------------------


def _curves(logs: Logs) -> tuple[FloatArray, FloatArray]:
    """The grid (J,) up to n, and the unbiased curve of each log (R, J)."""
    grid = passk.log_grid(int(logs.counts.n.min()), POINTS)
    weights = logs.weights / logs.weights.sum(axis=1, keepdims=True)
    return grid.astype(np.float64), passk.curve(logs.counts, grid, weights)


def _exponentiated_power(objective: str) -> Predict:
    def predict(logs: Logs, k: FloatArray, start: FloatArray | None) -> Point:
        law = registry.law("exponentiated-power")
        spec = IntervalSpec("none", 0.95, 0, 0)
        plan = Plan(law, law.objective(objective), POINTS, spec, lambda _: None)
        grid, curves = _curves(logs)
        top = curves < 1 if objective == "loglog" else curves <= 1
        good = np.all((curves > 0) & top, axis=1) & (np.ptp(curves, axis=1) > _FLAT)
        coordinates = np.full((len(curves), len(law.params)), np.nan)
        estimate = np.full((len(curves), len(k)), np.nan)
        if good.any():
            if start is None:
                guess = law.guess["curve"]
                first = np.concatenate([law.free(guess([grid], c)) for c in curves[good]])
            else:
                first = start[good]
            found = solve_curve(plan, [grid], curves[good], first)
            coordinates[good] = np.where(found.converged[:, None], found.coordinates, np.nan)
            estimate[good] = law.value(law.bound(coordinates[good]), {"samples": k})
        return Point(estimate, coordinates)

    return predict


def _mean(parts: Sequence[Predict]) -> Predict:
    def predict(logs: Logs, k: FloatArray, start: FloatArray | None) -> Point:
        starts = [None] * len(parts) if start is None else np.split(start, len(parts), axis=1)
        points = [part(logs, k, first) for part, first in zip(parts, starts, strict=True)]
        estimate = np.mean([p.estimate for p in points], axis=0)
        return Point(estimate, np.concatenate([p.coordinates for p in points], axis=1))

    return predict


def _semilog(logs: Logs, k: FloatArray, _start: FloatArray | None) -> Point:
    """Ordinary least squares of -log c on log k, capped at one."""
    grid, curves = _curves(logs)
    with np.errstate(divide="ignore"):
        y = np.where(np.all(curves > 0, axis=1, keepdims=True), -np.log(curves), np.nan)
    x = np.log(grid)
    centred = x - x.mean()
    slope = y @ centred / (centred @ centred)
    line = y.mean(axis=1)[:, None] + slope[:, None] * (np.log(k) - x.mean())
    return Point(np.exp(-np.maximum(line, 0.0)), slope[:, None])


# -- counts -------------------------------------------------------------------------------------------


def _best(likelihood: CountLikelihood, logs: Logs, guesses: FloatArray) -> Maximum:
    """The best of S starting points (R, S, p) for each log."""
    rows, starts, p = guesses.shape
    found = maximise(likelihood, np.repeat(logs.weights, starts, axis=0), guesses.reshape(-1, p))
    best = np.arange(rows) * starts + found.log_likelihood.reshape(rows, starts).argmax(axis=1)
    return Maximum(found.coordinates[best], found.log_likelihood[best], found.converged[best])


def _count_law(name: str, box: tuple[float, float] | None = None) -> Predict:
    """Maximum likelihood of a count law; with a box, all its parameters inside."""

    def predict(logs: Logs, k: FloatArray, start: FloatArray | None) -> Point:
        law = registry.law(name)
        likelihood = CountLikelihood(law, logs.counts)
        if start is None:
            n, c = logs.counts.n.astype(float), logs.counts.c.astype(float)
            guess = law.guess["counts"]
            found = _best(
                likelihood, logs, np.stack([law.free(guess(n, c, w)) for w in logs.weights])
            )
        else:
            found = maximise(likelihood, logs.weights, start, iterations=_STEPS)
        if box:
            low, high = (law.free(np.full(likelihood.p, end)) for end in box)
            found = _boxed(likelihood, logs.weights, found, low, high)
        # Towards one rate for all problems the parameters run off, and what they predict is right. A refit
        # that is still under way on a flat ridge predicts what its end would.
        settled = found.converged | (start is not None)
        settled |= without_spread(logs.counts, logs.weights, found)
        estimate = np.full((len(settled), len(k)), np.nan)
        theta = law.bound(found.coordinates[settled])
        if len(theta):
            estimate[settled] = law.value(theta, {"samples": k})
        return Point(estimate, found.coordinates)

    return predict


def _boxed(
    likelihood: CountLikelihood,
    weights: FloatArray,
    found: Maximum,
    low: FloatArray,
    high: FloatArray,
) -> Maximum:
    """The maximum inside a box: where the free one lies outside, the best on the edges."""
    out = np.flatnonzero(((found.coordinates < low) | (found.coordinates > high)).any(axis=1))
    if not len(out):
        return found
    inside = np.clip(found.coordinates[out], low, high)
    best, top = inside.copy(), np.full(len(out), -np.inf)
    for i in range(likelihood.p):
        held = np.zeros(inside.shape, dtype=bool)
        held[:, i] = True
        for end in (low[i], high[i]):
            start = inside.copy()
            start[:, i] = end
            edge = np.clip(
                maximise(likelihood, weights[out], start, fixed=held).coordinates, low, high
            )
            value = likelihood.value(edge, weights[out])
            better = value > top
            best[better], top[better] = edge[better], value[better]
    whole = Maximum(found.coordinates.copy(), found.log_likelihood.copy(), found.converged.copy())
    whole.coordinates[out], whole.log_likelihood[out], whole.converged[out] = best, top, True
    return whole


def _schaeffer(logs: Logs, k: FloatArray, _start: FloatArray | None) -> Point:
    """Beta on [0, max c/n] by the multinomial likelihood of c/n over logarithmic windows.

    Windows are cut at 0 and at n/10 points evenly spaced in logarithm from 1/n to 1; alpha and beta lie
    in [0.01, 100] and start at the maximum likelihood of the rates themselves, held off 0 and 1, with the
    scale (P+1)/P max c/n. Log by log: it is a comparison, and has no published interval.
    """
    from scipy.optimize import minimize
    from scipy.special import betainc, betaln

    def solve(loss: Callable[[FloatArray], float], first: FloatArray) -> FloatArray:
        found = minimize(loss, first, method="L-BFGS-B", bounds=[KAZDAN, KAZDAN])
        return np.asarray(found.x, dtype=np.float64)

    n, problems = float(logs.counts.n[0]), logs.weights[0].sum()
    rate = logs.counts.c / n
    cuts = np.concatenate([[0.0], np.logspace(-np.log10(n), 0, max(2, int(n / 10)))])
    window = np.searchsorted(cuts * (1 - 1e-9), rate, side="right") - 1
    window = np.minimum(window, len(cuts) - 2)  # the last is closed
    shapes = np.full((len(logs.weights), 2), np.nan)
    estimate = np.full((len(logs.weights), len(k)), np.nan)
    for row, weights in enumerate(logs.weights):
        scale = rate[weights > 0].max()
        if scale == 0:
            continue
        inside = np.clip(rate / min(1.0, (problems + 1) / problems * scale), 1e-6, 1 - 1e-6)
        logarithms = np.array([weights @ np.log(inside), weights @ np.log1p(-inside)])
        filled = np.bincount(window, weights, minlength=len(cuts) - 1).astype(np.float64)
        ends = np.minimum(cuts / scale, 1.0)

        def of_rates(shape: FloatArray, sums: FloatArray = logarithms) -> float:
            return float(problems * betaln(*shape) - (shape - 1) @ sums)

        def of_windows(
            shape: FloatArray, ends: FloatArray = ends, filled: FloatArray = filled
        ) -> float:
            return -float(filled @ np.log(np.diff(betainc(*shape, ends)) + 1e-16))

        shapes[row] = solve(of_windows, solve(of_rates, np.array([0.35, 3.5])))
        estimate[row] = -np.expm1(
            log_scaled_beta_moment(shapes[row, 0], shapes[row, 1], scale, k, 0.0)
        )
    return Point(estimate, shapes)


# -- no population ------------------------------------------------------------------------------------


def _per_problem(value: Callable[[FloatArray, FloatArray, FloatArray], FloatArray]) -> Predict:
    """The mean over problems of a function of k, n and c."""

    def predict(logs: Logs, k: FloatArray, _start: FloatArray | None) -> Point:
        n, c = (x.astype(float)[:, None] for x in logs.counts[:2])
        weights = logs.weights / logs.weights.sum(axis=1, keepdims=True)
        return Point(weights @ value(k, n, c), np.empty((len(weights), 0)))

    return predict


def _solved(k: FloatArray, _n: FloatArray, c: FloatArray) -> FloatArray:
    return np.broadcast_to((c > 0).astype(float), (len(c), len(k)))


def _uniform_prior(k: FloatArray, n: FloatArray, c: FloatArray) -> FloatArray:
    return -np.expm1(log_beta_ratio(1 + c, 1 + n - c, k))


# -- by name ------------------------------------------------------------------------------------------


def _forecaster(logs: Logs, k: FloatArray, level: float, seed: int) -> Band:
    from scaling.fitting.forecast import forecast

    shape = (len(logs.weights), len(k))
    estimate, low, high = (np.full(shape, np.nan) for _ in range(3))
    for row in range(len(logs.weights)):
        found = forecast(logs.one(row), k, level=level, seed=seed)
        if found.refused is None:
            estimate[row], low[row], high[row] = found.estimate, found.low, found.high
    return Band(estimate, low, high)


_BROWN, _COV, _LOGLOG = (_exponentiated_power(name) for name in ("logcov", "cov", "loglog"))
_BETA = "beta-binomial"

_NAMED = (
    Rival(
        "forecast",
        "our forecaster, which weighs models by a backtest inside the log",
        forecast=_forecaster,
    ),
    Rival("brown", "exponentiated power law on log c (Brown et al. 2024, eq. 2)", _BROWN),
    Rival("epl-cov", "exponentiated power law on c (Brown et al. 2024, eq. 3)", _COV),
    Rival("loglog", "line through log(-log c) on log k (Schaeffer et al. 2025)", _LOGLOG),
    Rival("curve-mean", "mean of brown, epl-cov and loglog", _mean((_BROWN, _COV, _LOGLOG))),
    Rival(
        "schaeffer",
        "discretised beta, scale fixed at max c/n (Schaeffer et al. 2025)",
        _schaeffer,
        resampled=False,
    ),
    Rival(
        "kazdan",
        "beta-binomial with alpha and beta in [0.01, 100] (Kazdan et al. 2025)",
        _count_law(_BETA, KAZDAN),
    ),
    Rival(
        "semilog", "line through -log c on log k, the baseline of Kazdan et al. (2025)", _semilog
    ),
    Rival(
        "uniform-prior",
        "Beta(1, 1) for each problem by itself, no pooling (the model of scorio)",
        _per_problem(_uniform_prior),
    ),
    Rival(
        "solved-so-far", "share of problems solved so far, no extrapolation", _per_problem(_solved)
    ),
)


COMPARED = (
    "forecast",
    "brown",
    "epl-cov",
    "loglog",
    "curve-mean",
    "schaeffer",
    "kazdan",
    "beta-binomial",
    "zero-inflated-beta-binomial",
    "semilog",
    "uniform-prior",
    "solved-so-far",
)
"""What a comparison runs; other count laws take minutes for their intervals, and run by name."""


def rivals() -> dict[str, Rival]:
    """All forecasters by name: those of a comparison in its order, then the other count laws."""
    laws = {name: registry.law(name) for name in registry.law_names()}
    found = {r.name: r for r in _NAMED}
    for name, law in laws.items():
        if law.rates is not None and name not in found:
            found[name] = Rival(name, law.meaning, _count_law(name))
    return {name: found[name] for name in (*COMPARED, *(n for n in found if n not in COMPARED))}


def rival(name: str) -> Rival:
    """The forecaster of that name; `exponentiated-power` is its default objective, `brown`.

    Raises:
        UsageError: listing those that exist.
    """
    known = rivals()
    chosen = "brown" if name == "exponentiated-power" else name
    if chosen not in known:
        msg = (
            f"there is no forecaster '{name}'; a backtest knows {', '.join(known)}."
            f"{did_you_mean(name, known)}"
        )
        raise UsageError(msg)
    return known[chosen]
