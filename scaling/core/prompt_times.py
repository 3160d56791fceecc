"""Prompt times known at profiled lengths: how they are called, and what stands between them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BETA, OVERHEAD = "beta", "overhead"
"""Names of the other parameters of an idealized runtime."""

PROMPT = re.compile(r"prompt\((\d+(?:\.\d+)?)\)")


def prompt_name(length: float) -> str:
    """`prompt(512)`: the parameter of one profiled prompt length."""
    return f"prompt({length:.15g})"


def prompt_shares(lengths: FloatArray, p: Any, *, interpolated: bool, xp: Any = np) -> list[Any]:
    """What each profiled prompt time counts at a prompt of p tokens; shapes of `p`.

    Published: the smallest length q >= p counts p / q. Interpolated: the two lengths about p share one,
    the smallest stands for shorter prompts. Beyond the largest length it counts p / q in both.

    Args:
        lengths: q, increasing.
        p: prompt tokens.
        interpolated: which of the two.
        xp: NumPy or JAX's.
    """
    q = xp.asarray(lengths)
    last = len(lengths) - 1
    above = xp.clip(xp.searchsorted(q, p, side="left"), 0, last)
    if not interpolated:
        return [p / q[above] * (above == i) for i in range(last + 1)]
    below = xp.maximum(above - 1, 0)
    gap = q[above] - q[below]
    share = xp.where(gap > 0, (p - q[below]) / xp.where(gap > 0, gap, 1.0), 1.0)
    beyond = p > q[-1]
    upper = xp.where(beyond, p / q[-1], xp.where(p < q[0], 1.0, share))
    lower = xp.where(beyond, 0.0, 1.0 - upper)
    return [upper * (above == i) + lower * (below == i) * (above != i) for i in range(last + 1)]
