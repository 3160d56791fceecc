"""One rung a class under several linear limits: the problem that a menu and its limits come down to.

`max sum_i w_i gain(x_i)` subject to `sum_i w_i use_r(x_i) <= room_r` for every row r. A limit from
below is a row with its sign turned; a share of queries is a row of zeros and ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.curves import distinct, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from scaling.curves import BoolArray, FloatArray, IntArray

_BLOCK = 1 << 17
"""Rungs that are priced at a time: few enough to stay in the cache."""


@dataclass(frozen=True)
class Linear:
    """The problem, in an order of its own.

    Curves are sorted by what they hold, and classes by curve, weight and key, so that no answer
    depends on the order in which either is listed. `C` classes, `M` curves, `N` rungs, `R` rows.

    Attributes:
        index: shape (N,), rungs of the menu; -1 is doing nothing (gain 0, use 0).
        start: shape (M + 1,), the rungs of curve `m` are `start[m]:start[m + 1]`, at least one.
        gain: shape (N,).
        use: shape (R, N).
        room: shape (R,), for weighted totals.
        mass: shape (M,), weight on each curve.
        curve: shape (C,), non-decreasing.
        weight: shape (C,).
        place: shape (C,), each class's place in the list that was given.
    """

    index: IntArray
    start: IntArray
    gain: FloatArray
    use: FloatArray
    room: FloatArray
    mass: FloatArray
    curve: IntArray
    weight: FloatArray
    place: IntArray

    @classmethod
    def of(
        cls,
        gain: FloatArray,
        use: Sequence[FloatArray],
        room: Sequence[float],
        start: IntArray,
        curve: IntArray,
        weight: FloatArray,
        *,
        key: Mapping[str, NDArray[Any]],
        allowed: BoolArray | None = None,
        nothing: BoolArray | None = None,
    ) -> Linear:
        """Curves in use with their rungs on offer; doing nothing becomes a rung.

        Args:
            gain: shape (N,).
            use: one array of shape (N,) a row.
            room: one number a row.
            start: shape (M + 1,).
            curve: shape (C,), none negative; every curve in use offers something.
            weight: shape (C,).
            key: class columns, each of shape (C,).
            allowed: shape (N,), rungs on offer; all where None.
            nothing: shape (M,), whether doing nothing is on offer; nowhere where None.
        """
        used, of_class = distinct(curve)
        idle = np.zeros(used.size, dtype=bool) if nothing is None else nothing[used]
        low, high = start[used], start[used + 1]
        length = high - low
        owner = np.repeat(np.arange(used.size), length)
        rung = ranges(low, high)
        if allowed is not None:
            kept = allowed[rung]
            rung, owner = rung[kept], owner[kept]
        begin = np.searchsorted(owner, np.flatnonzero(idle))
        index = np.insert(rung, begin, -1)
        owner = np.insert(owner, begin, np.flatnonzero(idle))
        first = np.searchsorted(owner, np.arange(used.size + 1)).astype(np.int64)
        length = np.diff(first)
        by_content = np.lexsort((_fingerprint(index, owner, first, [gain, *use]), length))
        rank = np.empty(used.size, dtype=np.int64)
        rank[by_content] = np.arange(used.size)
        index = index[ranges(first[by_content], first[by_content + 1])]
        first = np.concatenate(([0], np.cumsum(length[by_content]))).astype(np.int64)

        of_class = rank[of_class]
        names = list(key.values())[::-1]
        place = np.lexsort((*names, -weight, of_class))
        of_class, weight = of_class[place], weight[place]
        return cls(
            index,
            first,
            _gathered(gain, index),
            np.stack([_gathered(row, index) for row in use]) if use else np.zeros((0, index.size)),
            np.asarray(room, dtype=np.float64),
            np.bincount(of_class, weight, used.size).astype(np.float64),
            of_class,
            weight,
            place,
        )

    @property
    def total(self) -> float:
        """Weight of all classes."""
        return math.fsum(self.weight.tolist())

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Curves and their rungs, some at a time."""
        m, M = 0, self.start.size - 1
        while m < M:
            after = int(np.searchsorted(self.start, self.start[m] + _BLOCK, side="right")) - 1
            after = max(after, m + 1)
            yield slice(m, after), slice(int(self.start[m]), int(self.start[after]))
            m = after

    def best(self, prices: FloatArray) -> tuple[FloatArray, IntArray]:
        """Each curve's largest gain net of prices, and the first rung that has it, shapes (M,)."""
        most = np.empty(self.start.size - 1)
        rung = np.empty(self.start.size - 1, dtype=np.int64)
        for curves, rungs in self.blocks():
            net = self.gain[rungs] - prices @ self.use[:, rungs]
            begin = self.start[curves]
            size = np.diff(self.start[curves.start : curves.stop + 1])
            if size.size and bool((size == size[0]).all()):
                table = net.reshape(size.size, -1)
                at = table.argmax(axis=1)
                rung[curves] = begin + at
                most[curves] = table[np.arange(size.size), at]
                continue
            high = np.maximum.reduceat(net, begin - begin[0])
            hit = np.flatnonzero(net == np.repeat(high, size))
            owner = np.repeat(np.arange(size.size), size)[hit]
            first = np.searchsorted(owner, np.arange(size.size))
            rung[curves] = hit[first] + begin[0]
            most[curves] = high
        return most, rung

    def loss(self, prices: FloatArray) -> FloatArray:
        """What every rung falls short of its curve's best at these prices, shape (N,)."""
        out = np.empty(self.gain.size)
        most, _ = self.best(prices)
        for curves, rungs in self.blocks():
            net = self.gain[rungs] - prices @ self.use[:, rungs]
            size = np.diff(self.start[curves.start : curves.stop + 1])
            out[rungs] = np.repeat(most[curves], size) - net
        return out

    def bound(self, prices: FloatArray, most: FloatArray) -> float:
        """The Lagrange dual at prices, given each curve's largest net gain: no answer has more."""
        terms = (self.mass * most).tolist()
        return math.fsum([*(prices * self.room).tolist(), *terms])

    def used(self, rung: IntArray) -> FloatArray:
        """Weighted totals of the rows, shape (R,), for a rung a class, shape (C,)."""
        return np.array([float(self.weight @ row[rung]) for row in self.use])

    def worth(self, rung: IntArray) -> float:
        """Weighted total gain for a rung a class."""
        return float(self.weight @ self.gain[rung])

    def thrifty(self, rung: IntArray) -> IntArray:
        """For every class a rung that gains no less and uses no more of any row, the least in all.

        So nothing is spent beyond the peak of a curve only because it happens to be left.
        """
        units, place = distinct(rung)
        curve = np.searchsorted(self.start, units, side="right") - 1
        length = self.start[curve + 1] - self.start[curve]
        first = np.concatenate(([0], np.cumsum(length))).astype(np.int64)
        other = ranges(self.start[curve], self.start[curve + 1])
        own = np.repeat(units, length)
        good = self.gain[other] >= self.gain[own]
        used = np.zeros(other.size)
        for row in self.use:
            good &= row[other] <= row[own]
            used += row[other] / (float(np.ptp(row)) or 1.0)
        used[~good] = np.inf
        least = np.minimum.reduceat(used, first[:-1])
        hit = np.flatnonzero(used == np.repeat(least, length))
        return other[hit[np.searchsorted(hit, first[:-1])]][place]

    def part(self, curves: IntArray) -> Linear:
        """The problem of some curves, given more weight so that they stand for all."""
        length = self.start[curves + 1] - self.start[curves]
        first = np.concatenate(([0], np.cumsum(length))).astype(np.int64)
        rung = ranges(self.start[curves], self.start[curves + 1])
        mass = self.mass[curves]
        mass = mass * (self.mass.sum() / mass.sum())
        each = np.arange(curves.size)
        return Linear(
            self.index[rung], first, self.gain[rung], self.use[:, rung], self.room,
            mass, each, mass, each,
        )  # fmt: skip

    def in_given_order(self, rung: IntArray) -> IntArray:
        """Rungs of the menu by class, in the order that was given; -1 for doing nothing."""
        out = np.empty(rung.size, dtype=np.int64)
        out[self.place] = self.index[rung]
        return out


def _gathered(column: FloatArray, index: IntArray) -> FloatArray:
    """A rung column at some rungs, 0 at -1."""
    out = column[np.maximum(index, 0)].astype(np.float64)
    out[index < 0] = 0.0
    return out


def _fingerprint(
    index: IntArray, owner: IntArray, first: IntArray, columns: Sequence[FloatArray]
) -> FloatArray:
    """A number for each curve that depends on nothing but its rungs' numbers in their order."""
    place = np.arange(index.size) - first[owner]
    mark = np.zeros(index.size)
    for r, column in enumerate(columns):
        mark += np.cos(1.0 + 0.7390851 * place + 2.3130353 * r) * _gathered(column, index)
    return np.add.reduceat(mark, first[:-1])
