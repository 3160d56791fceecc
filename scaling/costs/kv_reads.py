"""Cached tokens that decoding reads, summed over the steps of one sample.

`K(P, l, B)` is the sum over steps t = 1 .. l of `min(B, P + t)`, where P tokens stand before the
first step and B caps what a step reads. Discrete sums count the token of the step itself; continuous
ones integrate `min(B, P + u)` over u from 0 to l. Both in closed form, with derivatives.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Cap = FloatArray | float | None
Sum = Literal["discrete", "continuous"]


def reads(before: FloatArray | float, length: FloatArray, cap: Cap, own: float) -> FloatArray:
    """K(before, length, cap); all broadcast.

    With `x = clip(B - P, 0, l)`: `P x + x (x + own) / 2 + B (l - x)`, exact for whole numbers.

    Args:
        before: P.
        length: l.
        cap: B, None for no cap.
        own: 1 for the discrete sum, 0 for the integral.
    """
    if cap is None:
        return np.asarray(length * (before + 0.5 * own + 0.5 * length))
    full = np.minimum(np.maximum(cap - before, 0.0), length)
    return np.asarray(full * (before + 0.5 * own + 0.5 * full) + cap * (length - full))


def slope_in_length(
    before: FloatArray | float, length: FloatArray, cap: Cap, own: float
) -> FloatArray:
    """dK/dl: `P + l + own / 2` before the cap, B after it."""
    rising = before + length + 0.5 * own
    if cap is None:
        return np.asarray(rising)
    return np.asarray(np.where(cap - before > length, rising, cap))


def slope_in_cap(
    before: FloatArray | float, length: FloatArray, cap: Cap, own: float
) -> FloatArray:
    """dK/dB: the steps that the cap binds, `l - x` and half a step of the discrete sum."""
    if cap is None:
        return np.zeros(np.broadcast(before, length).shape)
    full = np.minimum(np.maximum(cap - before, 0.0), length)
    partial = (full > 0) & (full < length)
    return np.asarray(length - full + 0.5 * own * partial)


def published_top_k(before: FloatArray | float, length: FloatArray, cap: FloatArray) -> FloatArray:
    """As the public code of Kinetics has it: `B l + max(0, B - P)^2 / 2`, whose sign is wrong."""
    return np.asarray(cap * length + 0.5 * np.maximum(cap - before, 0.0) ** 2)


def published_block(before: FloatArray | float, length: FloatArray, cap: FloatArray) -> FloatArray:
    """`B l - max(0, B - P)^2 / 2`, right where the context reaches B and too low elsewhere."""
    return np.asarray(cap * length - 0.5 * np.maximum(cap - before, 0.0) ** 2)
