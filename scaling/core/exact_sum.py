"""Sums of float64 numbers without any rounding, a part at a time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

_LEAST = -1126  # every float64 is a whole number of 2^-1126
_BLOCK = 1 << 15


class ExactSum:
    """A running sum in which neither the order of the numbers nor their parts matter.

    A float64 is a whole number m below 2^53 times a power of two. The upper and the lower half of
    m are added up for each power apart, in whole numbers; `math.fsum` rounds each part.
    """

    def __init__(self) -> None:
        self._halves = np.zeros((2, 2200), dtype=np.int64)  # (upper or lower, power of two)
        self._waiting: list[NDArray[np.float64]] = []
        self._size = 0

    def add(self, numbers: NDArray[np.float64]) -> None:
        """Add finite numbers, shape (n,), which are not changed later; up to 2^35 in all."""
        self._waiting.append(numbers)
        self._size += numbers.size
        if self._size >= _BLOCK:
            self._add_waiting()

    def _add_waiting(self) -> None:
        # many short parts at once: they cost more calls than numbers
        numbers = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting, self._size = [], 0
        for at in range(0, numbers.size, _BLOCK):
            mantissa, exponent = np.frexp(numbers[at : at + _BLOCK])
            m = np.ldexp(mantissa, 53).astype(np.int64)
            least = int(exponent.min())
            power = (exponent - least).astype(np.intp)
            for total, half in zip(self._halves, (m >> 27, m & (2**27 - 1)), strict=True):
                sums = np.bincount(power, half)  # exact: few numbers below 2^27
                first = least - 53 - _LEAST
                total[first : first + sums.size] += sums.astype(np.int64)

    def total(self) -> Fraction:
        """The sum."""
        if self._waiting:
            self._add_waiting()
        units = 0
        for power in np.flatnonzero(self._halves.any(axis=0)).tolist():
            upper, lower = self._halves[:, power].tolist()
            units += (upper << 27) + lower << power
        return Fraction(units) * Fraction(2) ** _LEAST


def exact_sum(numbers: NDArray[np.float64]) -> Fraction:
    """The sum of finite numbers, shape (n,)."""
    out = ExactSum()
    out.add(numbers)
    return out.total()
