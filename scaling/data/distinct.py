"""Distinct counts: problems with the same attempts and successes are interchangeable."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]


class UniqueCounts(NamedTuple):
    """Distinct pairs (n, c), each of shape (U,), and how many problems have them."""

    n: IntArray
    c: IntArray
    multiplicity: IntArray

    def place(self, n: IntArray, c: IntArray) -> IntArray:
        """Where each problem's (n, c) stands among the distinct ones, shape (P,)."""
        width = int(self.n.max(initial=0)) + 1
        return np.searchsorted(self.n * width + self.c, n * width + c)


def unique_counts(n: ArrayLike, c: ArrayLike) -> UniqueCounts:
    """Distinct pairs of attempts and successes, in the order of (n, c).

    Args:
        n: attempts at each problem, shape (P,).
        c: successes, shape (P,).
    """
    attempts, successes = np.asarray(n, dtype=np.int64), np.asarray(c, dtype=np.int64)
    if (
        len(attempts)
        and attempts[0] == attempts.min() == attempts.max() <= 10 * len(attempts) + 10_000
    ):
        multiplicity = np.bincount(successes)
        (values,) = np.nonzero(multiplicity)
        return UniqueCounts(np.full(len(values), attempts[0]), values, multiplicity[values])
    width = int(attempts.max(initial=0)) + 1
    keys, multiplicity = np.unique(attempts * width + successes, return_counts=True)
    return UniqueCounts(keys // width, keys % width, multiplicity)
