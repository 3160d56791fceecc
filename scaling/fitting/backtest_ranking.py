"""Which forecaster did best, and what noise makes of the differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.backtest_result import Rank

FloatArray = NDArray[np.float64]

_REDRAWS = 1000  # of runs, groups and truths, for the noise of a difference
_RANK = 7  # keeps the draws of the ranking apart from those of the thinnings


class Runs(NamedTuple):
    """Signed errors of each forecaster (L, R, K), NaN where it failed, and the truth's own noise (K,)."""

    errors: FloatArray
    truth_sd: FloatArray


def ranking(
    names: Sequence[str], targets: Sequence[int], runs: Sequence[Runs], *, level: float, seed: int
) -> tuple[Rank, ...]:
    """Target by target, forecasters by mean absolute error, and what noise makes of the differences."""
    if not runs:
        return ()
    out = []
    for j, samples in enumerate(targets):
        size = [np.abs(run.errors[:, :, j]) for run in runs]
        with np.errstate(invalid="ignore"):
            counted = [np.isfinite(x).sum(axis=1) for x in size]
            mae = np.mean(
                [np.nansum(x, axis=1) / n for x, n in zip(size, counted, strict=True)], axis=0
            )
        order = np.argsort(np.where(np.isnan(mae), np.inf, mae), kind="stable")
        first = int(order[0])
        for i in order:
            if np.isnan(mae[i]):
                out.append(Rank(samples, names[i], None, None, None, None))
            elif i == first:
                out.append(Rank(samples, names[i], float(mae[i]), 0.0, None, True))
            else:
                behind, low, high = _difference(runs, int(i), first, j, level, seed)
                found = None if behind is None else (low, high)
                noise = None if behind is None else low <= 0 <= high
                out.append(Rank(samples, names[i], float(mae[i]), behind, found, noise))
    return tuple(out)


def _difference(
    runs: Sequence[Runs], one: int, other: int, j: int, level: float, seed: int
) -> tuple[float | None, float, float]:
    """Mean difference of absolute errors over paired runs, with its percentile interval.

    Drawn again are the runs (which attempts were seen), the truth, by its own noise, and, where
    there are several, the groups.
    """
    rng = np.random.default_rng([seed, _RANK, j])
    means, draws = [], []
    for run in runs:
        pair = run.errors[[one, other], :, j]
        pair = pair[:, np.isfinite(pair).all(axis=0)]
        if not pair.shape[1]:
            return None, 0.0, 0.0
        means.append(float(np.subtract(*np.abs(pair)).mean()))
        chosen = pair[:, rng.integers(pair.shape[1], size=(_REDRAWS, pair.shape[1]))]
        shift = rng.normal(0, run.truth_sd[j], size=(_REDRAWS, 1))
        draws.append(np.subtract(*np.abs(chosen - shift)).mean(axis=1))
    groups = np.stack(draws, axis=1)
    if len(runs) > 1:
        picked = rng.integers(len(runs), size=groups.shape)
        groups = np.take_along_axis(groups, picked, axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(groups.mean(axis=1), [tail, 1 - tail])
    return float(np.mean(means)), float(low), float(high)
