"""How much of a forecast's error nobody can avoid, on logs like this one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.data.distinct import UniqueCounts
from scaling.errors import InputError
from scaling.fitting import population

FloatArray = NDArray[np.float64]

_DRAWS = 400


@dataclass(frozen=True)
class Floor:
    """Attainable error of a forecast of the share solved within k attempts; each array of shape (K,).

    Attributes:
        k: attempts, shape (K,).
        truth_sd: standard deviation of the share solved when the success rates are given: the luck of the
            attempts alone.
        mae_known_rates: mean absolute error of a forecaster who knows every problem's success rate and the
            attempts made so far.
        mae_known_population: of one who knows the distribution of the rates, and which problems are solved
            so far.
    """

    k: FloatArray
    truth_sd: FloatArray
    mae_known_rates: FloatArray
    mae_known_population: FloatArray


def floor(counts: UniqueCounts, k: ArrayLike, *, seed: int = 0) -> Floor:
    """Simulate logs of the same size from populations that the counts allow, and forecast them.

    Rates are drawn from the posterior of the population (`population.py`), attempts are made and made on
    until k. Given rates p the variance of the share is mean r (1 - r) / P with r = (1-p)^k. Both forecasters
    give their expectation for the problems still unsolved.

    Args:
        counts: distinct (n, c) of at least one problem.
        k: numbers of attempts, >= 1, shape (K,); no error is left where k is within the attempts made.
        seed: of the simulation.

    Raises:
        InputError: for no problems or k below one or infinite.
    """
    k = np.atleast_1d(np.asarray(k, dtype=np.float64))
    if not len(counts.n):
        raise InputError("no problems: the floor of a forecast is that of a log with problems")
    usable = (k >= 1) & np.isfinite(k)
    if not usable.all():
        worst = k[~usable][0]
        raise InputError(f"the floor is computed for finite k >= 1 attempts, not for k = {worst:g}")
    rng = np.random.default_rng(seed)
    found = population.posterior(counts, rng, draws=_DRAWS)
    n = np.repeat(counts.n, counts.multiplicity)
    log_miss = np.log1p(-found.rates(len(n), rng))
    open_ = rng.random(log_miss.shape) < np.exp(n * log_miss)
    out = np.empty((3, len(k)))
    for j, target in enumerate(k):
        more = np.maximum(target - n, 0.0)
        fail = np.exp(target * log_miss)
        left = np.exp(more * log_miss)
        fresh = open_ & (rng.random(left.shape) >= left)
        known_rates = np.where(open_, 1 - left, 0.0).mean(axis=1)
        expected = 1 - found.left(n, np.maximum(n, target))
        known_population = np.where(open_, expected, 0.0).mean(axis=1)
        truth = fresh.mean(axis=1)
        out[:, j] = (
            np.sqrt((fail * (1 - fail)).mean(axis=1) / len(n)).mean(),
            np.abs(known_rates - truth).mean(),
            np.abs(known_population - truth).mean(),
        )
    return Floor(k, *out)
