"""Types of arrays, and index arithmetic on curves that are stored back to back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def distinct(codes: IntArray) -> tuple[IntArray, IntArray]:
    """Sorted distinct values of non-negative integers, and each one's place among them."""
    most = int(codes.max(initial=0)) + 1
    if most > 1 << 24:
        values, places = np.unique(codes, return_inverse=True)
        return values, places.astype(np.int64)
    present = np.zeros(most, dtype=bool)  # a table beats a sort where the codes are small
    present[codes] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[codes]


def ranges(low: IntArray, high: IntArray) -> IntArray:
    """`arange(low[i], high[i])` for every `i`, back to back."""
    length = high - low
    before = np.cumsum(length) - length
    return np.repeat(low - before, length) + np.arange(int(length.sum()))
