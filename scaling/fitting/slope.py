"""Exponents of coverage laws: over the data, and in the tail."""

from __future__ import annotations

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from scaling.core.law import Law
from scaling.core.objective import OBJECTIVES
from scaling.core.symbolic import compile_numpy
from scaling.errors import UsageError
from scaling.fitting.feasibility import elementary

FloatArray = NDArray[np.float64]

_STEP = 0.03  # in log k, of the central difference


def effective_slope(law: Law, params: ArrayLike, k: ArrayLike) -> FloatArray:
    """The local exponent of a coverage law, -d log(-log C) / d log k.

    Under exp(a k^b) it is -b everywhere. Under a law whose success rates have a density ~ p^(α-1) near 0 it
    tends to α (Schaeffer et al. 2025, theorem 3.1), often far beyond the data: it is not the
    derived quantity `tail_exponent`. The derivative of the formula where it is made of powers, exponentials
    and logarithms; else a central difference of order six in log k, good to about nine digits while 1 - C
    keeps its own.

    Args:
        law: a law of coverage in one input.
        params: shape (..., p).
        k: numbers of samples > 0, shape (K,).

    Returns:
        Shape (..., K); NaN where a difference meets a C of 0 or 1 in float64.

    Raises:
        UsageError: for a law that is not of coverage by samples, or k that are not positive numbers.
    """
    if law.output.name != "coverage" or [i.column for i in law.inputs] != ["samples"]:
        msg = f"law '{law.name}' does not say what coverage a number of samples has, so it has no such slope"
        raise UsageError(msg)
    theta, samples = np.asarray(params, dtype=np.float64), np.atleast_1d(np.asarray(k, float))
    if samples.ndim != 1 or not (np.isfinite(samples) & (samples > 0)).all():
        msg = f"k must be positive numbers of samples, not {samples.tolist()}"
        raise UsageError(msg)
    shape = (*theta.shape[:-1], len(samples))
    if elementary(law):
        # log C is split up, so that exp(a k^b) gives a k^b, which keeps its digits where C underflows
        variable, log_coverage = law.inputs[0].sym, OBJECTIVES["logcov"].transform(law.expression)
        slope = sp.simplify(-variable * sp.diff(log_coverage, variable) / log_coverage)
        function = compile_numpy([*(p.sym for p in law.params), variable], [slope])
        (out,) = function(*(theta[..., i, None] for i in range(theta.shape[-1])), samples)
        return np.array(np.broadcast_to(out, shape))
    total = np.zeros(shape)
    for j, weight in ((1, 45.0), (2, -9.0), (3, 1.0)):
        for sign in (1, -1):
            value = law.value(theta, {"samples": samples * np.exp(sign * j * _STEP)})
            inside = np.where((value > 0) & (value < 1), value, np.nan)
            total -= sign * weight * np.log(-np.log(inside))
    return total / (60 * _STEP)
