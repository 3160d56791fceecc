"""Replicates of few resampled units are too narrow; this widens them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def widened(
    draws: FloatArray, estimate: FloatArray, units: int, parameters: int, level: float
) -> FloatArray:
    """Draws moved away from the estimate, as Student's t with `units - parameters` degrees would have them.

    By `sqrt(n / (n - q)) t / z`, t and z the quantiles at `level`: the bootstrap of n units divides by n,
    and knows nothing of the uncertainty of the spread itself. It tends to 1 with many units.

    Args:
        draws: shape (R, p).
        estimate: shape (p,).
        units: n, what was resampled.
        parameters: q, coefficients that were fitted to them.
        level: of the interval.
    """
    from scipy.special import ndtri, stdtrit

    free = max(units - parameters, 1)
    t, z = stdtrit(free, (1 + level) / 2), ndtri((1 + level) / 2)
    return np.asarray(estimate + (draws - estimate) * np.sqrt(units / free) * t / z)
