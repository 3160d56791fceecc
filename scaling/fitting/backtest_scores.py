"""How far the forecasts of a backtest are from the truth, and how far the truth is from being one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling.core import registry
from scaling.data.distinct import unique_counts
from scaling.fitting import passk
from scaling.fitting.backtest_result import Attainable, Score
from scaling.fitting.likelihood import fit_counts
from scaling.fitting.rivals import Band, Logs

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def truth_sd(
    n: IntArray, c: IntArray, k: IntArray, rng: np.random.Generator, *, draws: int = 200
) -> FloatArray:
    """Standard deviation of unbiased coverage given the success rates of these problems, shape (K,).

    Rates are drawn from their posterior under a beta-binomial, and from each rate two sets of counts:
    half the mean squared difference of their pass@k is the variance that is due to sampling alone.

    Args:
        n: attempts, shape (P,).
        c: successes, shape (P,).
        k: numbers of attempts, at most the fewest n, shape (K,).
        rng: source of randomness.
        draws: of the rates.
    """
    law = registry.law("beta-binomial")
    theta = law.bound(fit_counts(law, unique_counts(n, c)).coordinates[0])
    total = np.zeros(len(k))
    for _ in range(draws):
        rates = law.draw_rates(theta, n, c, rng)
        one, other = (
            passk.pass_at_k(n[:, None], rng.binomial(n, rates)[:, None], k) for _ in range(2)
        )
        total += 0.5 * np.square(one - other).sum(axis=0)
    return np.asarray(np.sqrt(total / draws) / len(n))


def attainable(
    logs: Logs, k: IntArray, truth: FloatArray, noise: FloatArray, seed: int
) -> tuple[Attainable, ...]:
    """The floor, judged from what the first run shows."""
    from scaling.fitting.forecast_floor import floor

    found = floor(logs.one(0), k, seed=seed)
    known = (np.atleast_1d(found.mae_known_rates), np.atleast_1d(found.mae_known_population))
    return tuple(
        Attainable(
            int(k[j]), float(truth[j]), float(noise[j]), *(_finite(float(x[j])) for x in known)
        )
        for j in range(len(k))
    )


def _finite(x: float) -> float | None:
    return x if np.isfinite(x) else None


def scores_of(
    law: str, band: Band, k: IntArray, truth: FloatArray, level: float, problems: int
) -> list[Score]:
    """One score a target.

    Args:
        law: the forecaster's name.
        band: its estimates and intervals, run by run.
        k: targets, shape (K,).
        truth: shape (K,).
        level: of the intervals.
        problems: in the log; half a problem is the least share left unsolved.
    """
    out = []
    for j, samples in enumerate(k):
        given = np.isfinite(band.estimate[:, j])
        estimate = band.estimate[given, j]
        error = estimate - truth[j]
        left, unsolved = (np.log(np.maximum(1 - x, 0.5 / problems)) for x in (estimate, truth[j]))
        square = _mean(error**2)
        low, high = np.empty(0), np.empty(0)
        if band.low is not None and band.high is not None:
            bounded = np.isfinite(band.low[:, j]) & np.isfinite(band.high[:, j])
            low, high = band.low[bounded, j], band.high[bounded, j]
        outside = np.maximum(low - truth[j], 0) + np.maximum(truth[j] - high, 0)
        out.append(
            Score(
                law=law,
                samples=int(samples),
                n_runs=int(given.sum()),
                failed=int((~given).sum()),
                bias=_mean(error),
                mae=_mean(np.abs(error)),
                rmse=None if square is None else float(np.sqrt(square)),
                log_bias=_mean(left - unsolved),
                log_mae=_mean(np.abs(left - unsolved)),
                n_intervals=len(low),
                interval_coverage=_mean((outside == 0).astype(float)),
                mean_width=_mean(high - low),
                interval_score=_mean(high - low + 2 / (1 - level) * outside),
            )
        )
    return out


def _mean(x: FloatArray) -> float | None:
    return float(x.mean()) if len(x) else None
