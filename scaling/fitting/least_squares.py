"""Levenberg-Marquardt on many small problems at once.

All replicates of a bootstrap share the model and differ in their targets, so one pass of array
arithmetic advances them all; those that have converged leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

TOLERANCE = 1e-8  # relative to the size of a coordinate, or 1
FLOOR = -30.0  # a logarithmic coordinate below this is at its bound


class Solution(NamedTuple):
    """Coordinates (R, p), sums of squares (R,), and whether each row converged (R,)."""

    coordinates: FloatArray
    loss: FloatArray
    converged: BoolArray


def solve_small(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Solve R symmetric positive definite systems of p equations by elimination.

    Args:
        matrix: shape (p, p, R).
        right: shape (p, R).

    Returns:
        Shape (p, R).
    """
    a, x = matrix.copy(), right.copy()
    p = len(x)
    for i in range(p):
        for j in range(i + 1, p):
            factor = a[j, i] / a[i, i]
            a[j, i:] -= factor * a[i, i:]
            x[j] -= factor * x[i]
    for i in reversed(range(p)):
        for j in range(i + 1, p):
            x[i] -= a[i, j] * x[j]
        x[i] /= a[i, i]
    return x


def least_squares(
    model: Callable[..., list[Any]],
    inputs: list[FloatArray],
    targets: FloatArray,
    start: FloatArray,
    *,
    iterations: int = 100,
) -> Solution:
    """Minimise sum_k (model(u, x_k) - y_k)^2 for each row of targets.

    Args:
        model: takes p coordinates of shape (R, 1) and the inputs of shape (K,); returns the value and
            its p derivatives, each broadcastable to (R, K).
        inputs: each of shape (K,).
        targets: shape (R, K).
        start: shape (p,) or (R, p).
        iterations: the most steps; rows that need more are reported as not converged.
    """
    rows, points = targets.shape
    u = np.array(np.broadcast_to(start, (rows, np.shape(start)[-1])), dtype=np.float64)
    p = u.shape[1]
    loss = np.full(rows, np.inf)
    converged = np.zeros(rows, dtype=bool)
    active = np.arange(rows)
    x, y, damping = u.copy(), targets, np.full(rows, 1e-3)

    def evaluate(x: FloatArray, y: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
        value, *slopes = model(*(x[:, i, None] for i in range(p)), *inputs)
        return value - y, [np.broadcast_to(s, (len(x), points)) for s in slopes]

    residual, slopes = evaluate(x, y)
    current = np.einsum("rk,rk->r", residual, residual)
    for _ in range(iterations):
        gradient = np.stack([np.einsum("rk,rk->r", s, residual) for s in slopes])
        normal = np.empty((p, p, len(x)))
        for i in range(p):
            for j in range(i, p):
                normal[i, j] = normal[j, i] = np.einsum("rk,rk->r", slopes[i], slopes[j])
        for i in range(p):
            normal[i, i] += damping * normal[i, i] + 1e-300
        step = -solve_small(normal, gradient).T
        step = np.clip(np.nan_to_num(step), -3.0, 3.0)
        trial = np.maximum(x + step, FLOOR)
        new_residual, new_slopes = evaluate(trial, y)
        new = np.einsum("rk,rk->r", new_residual, new_residual)
        better = new <= current
        small = np.all(np.abs(trial - x) <= TOLERANCE * np.maximum(np.abs(x), 1.0), axis=1)
        damping = np.where(better, damping * 0.1, damping * 10.0)
        x = np.where(better[:, None], trial, x)
        current = np.where(better, new, current)
        stuck = ~better & (damping > 1e12)
        done = small | stuck
        if better.all():
            residual, slopes = new_residual, new_slopes
        else:
            residual = np.where(better[:, None], new_residual, residual)
            slopes = [
                np.where(better[:, None], n, s) for n, s in zip(new_slopes, slopes, strict=True)
            ]
        if done.any():
            finished = active[done]
            u[finished], loss[finished], converged[finished] = x[done], current[done], True
            keep = ~done
            active, x, y, damping, current = (
                active[keep],
                x[keep],
                y[keep],
                damping[keep],
                current[keep],
            )
            residual, slopes = residual[keep], [s[keep] for s in slopes]
            if not len(active):
                break
    u[active], loss[active] = x, current
    return Solution(u, loss, converged)
