"""From a mixture of answers to one action a class that keeps every limit.

The columns of the optimal mixture lose nothing at the optimal prices, so classes are handed out to
them in their shares; what is left to mend is about one class a row. That is done by single moves (a
class to another of its rungs), the cheapest at the prices for what they mend first. Then moves that
gain and fit are made, the largest gain first, and then pairs of moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scaling.allocators.linear import Linear
    from scaling.allocators.prices import Dual
    from scaling.curves import BoolArray, FloatArray, IntArray

_MOVES = 20_000
"""Moves that are looked at, the cheapest at the prices."""
_PAIRED = 400
"""Moves that are tried in pairs."""
_LIKE = 6
"""Classes tried of those that have one weight and one rung."""
_FEW = 64
"""Up to so many classes every start is tried."""
_STEPS = 20_000
_GOLDEN = 0.6180339887498949


def repair(linear: Linear, dual: Dual) -> IntArray | None:
    """One rung a class within the rows.

    Args:
        linear: the problem.
        dual: its prices and the mixture.

    Returns:
        Rungs, shape (C,); None where none was found.
    """
    moves = _Moves(linear, dual.choice, linear.loss(dual.prices))
    best: IntArray | None = None
    for start in _starts(linear, dual):
        rung = moves.mended(start)
        if rung is None:
            continue
        rung = moves.improved(rung)
        if best is None or linear.worth(rung) > linear.worth(best):
            best = rung
        if linear.curve.size > _FEW:
            break
    return best


def _starts(linear: Linear, dual: Dual) -> Iterator[IntArray]:
    """The mixture handed out, then what prices alone say, higher and higher."""
    yield _handed_out(linear, dual)
    yield dual.choice[linear.curve]
    for column in dual.columns:
        yield column[linear.curve]
    for more in (1.05, 1.5, 4.0, 100.0):
        yield linear.best(more * dual.prices)[1][linear.curve]
    for r in range(linear.room.size):  # what spares one row most
        alone = np.zeros(linear.room.size)
        alone[r] = 1e12
        yield linear.best(dual.prices + alone)[1][linear.curve]


def _handed_out(linear: Linear, dual: Dual) -> IntArray:
    """Classes to columns in the columns' shares, curve by curve."""
    rung: IntArray = dual.columns[0][linear.curve]
    torn = np.flatnonzero((dual.columns != dual.columns[0]).any(axis=0))
    if not torn.size:
        return rung
    rank = np.full(linear.mass.size, -1, dtype=np.int64)
    rank[torn] = np.arange(torn.size)
    classes = np.flatnonzero(rank[linear.curve] >= 0)
    curve, weight = linear.curve[classes], linear.weight[classes]
    before = np.cumsum(weight) - weight
    first = np.searchsorted(curve, torn)
    middle = (before - before[first][rank[curve]] + weight / 2) / linear.mass[curve]
    at = (middle + _GOLDEN * rank[curve]) % 1.0
    column = np.searchsorted(np.cumsum(dual.share)[:-1], at, side="right")
    rung[classes] = dual.columns[column, curve]
    return rung


class _Moves:
    """Moves of single classes, the cheapest at the prices."""

    def __init__(self, linear: Linear, best: IntArray, loss: FloatArray) -> None:
        self._linear = linear
        self._loss = loss
        heavy = np.zeros(linear.mass.size)
        np.maximum.at(heavy, linear.curve, linear.weight)
        cost = loss * np.repeat(heavy, np.diff(linear.start))
        near = np.arange(cost.size)
        if near.size > _MOVES:
            # a curve's best rung is where most of its classes are, and no move
            near = np.argpartition(np.where(cost > 0, cost, np.inf), _MOVES)[:_MOVES]
            curves = np.unique(np.searchsorted(linear.start, near, side="right") - 1)
            near = np.unique(np.concatenate((near, best[curves])))
        self._near = near
        self._owner = np.searchsorted(linear.start, near, side="right") - 1
        spread = np.array([np.ptp(row) for row in linear.use])
        self._scale = np.where(spread > 0, spread, 1.0)

    def _pool(self, rung: IntArray) -> tuple[IntArray, IntArray]:
        """Classes and the rungs they might go to, some of each kind of like classes."""
        linear = self._linear
        on = np.zeros(linear.mass.size, dtype=bool)
        on[self._owner] = True
        classes = np.flatnonzero(on[linear.curve])
        # like classes: the same rung and weight; they follow each other after sorting
        order = classes[np.lexsort((classes, linear.weight[classes], rung[classes]))]
        fresh = np.ones(order.size, dtype=bool)
        fresh[1:] = (rung[order[1:]] != rung[order[:-1]]) | (
            linear.weight[order[1:]] != linear.weight[order[:-1]]
        )
        begin = np.maximum.accumulate(np.where(fresh, np.arange(order.size), 0))
        some = np.sort(order[np.arange(order.size) - begin < _LIKE])
        low = np.searchsorted(self._owner, linear.curve[some])
        high = np.searchsorted(self._owner, linear.curve[some], side="right")
        cls = np.repeat(some, high - low)
        before = np.cumsum(high - low) - (high - low)
        to = self._near[np.repeat(low - before, high - low) + np.arange(cls.size)]
        return cls, to

    def mended(self, rung: IntArray) -> IntArray | None:
        """Moves until the rows are kept; None where no single move mends anything further."""
        linear = self._linear
        rung = rung.copy()
        over = linear.used(rung) - linear.room
        steps = 0
        while (over > 0).any():
            cls, to = self._pool(rung)
            weight = linear.weight[cls]
            progress = False
            while (over > 0).any() and steps < _STEPS:
                steps += 1
                now = rung[cls]
                change = weight * (linear.use[:, to] - linear.use[:, now])
                before = (np.maximum(over, 0.0) / self._scale).sum()
                after = (np.maximum(over[:, None] + change, 0.0) / self._scale[:, None]).sum(axis=0)
                mends = before - after
                price = weight * (self._loss[to] - self._loss[now])
                useful = np.flatnonzero(mends > 1e-12 * before)
                if not useful.size:
                    break
                worth = mends[useful] / (np.maximum(price[useful], 0.0) + 1e-12 * self._top())
                pick = useful[int(worth.argmax())]
                rung[cls[pick]] = to[pick]
                progress = True
                over = (
                    linear.used(rung) - linear.room if steps % 256 == 0 else over + change[:, pick]
                )
            over = linear.used(rung) - linear.room
            if not progress or steps >= _STEPS:
                break
        return rung if bool((over <= 0).all()) else None

    def _top(self) -> float:
        """A loss that is small beside what is at stake."""
        return float(np.ptp(self._linear.gain)) or 1.0

    def improved(self, rung: IntArray) -> IntArray:
        """Moves that gain and fit, the largest gain first, then pairs of moves."""
        rung = rung.copy()
        for _ in range(200):
            cls, to = self._pool(rung)
            single = self._singles(rung, cls, to)
            if not single and not self._pair(rung, cls, to):
                break
        return rung

    def _singles(self, rung: IntArray, cls: IntArray, to: IntArray) -> bool:
        """Make moves that gain and fit until there is none; whether there was any."""
        linear = self._linear
        weight = linear.weight[cls]
        left = linear.room - linear.used(rung)
        made = 0
        while made < 2000:
            now = rung[cls]
            gain = weight * (linear.gain[to] - linear.gain[now])
            good = np.flatnonzero(gain > 1e-15 * self._top())
            if good.size:
                change = weight[good] * (linear.use[:, to[good]] - linear.use[:, now[good]])
                good = good[_fits(change, left)]
            if not good.size:
                break
            pick = good[int(gain[good].argmax())]
            rung[cls[pick]] = to[pick]
            left = linear.room - linear.used(rung)
            made += 1
        return made > 0

    def _pair(self, rung: IntArray, cls: IntArray, to: IntArray) -> bool:
        """Make the best pair of moves that gains and fits; whether there was one."""
        linear = self._linear
        now, weight = rung[cls], linear.weight[cls]
        price = weight * (self._loss[to] - self._loss[now])
        some = np.flatnonzero(to != now)
        if some.size > _PAIRED:
            some = some[np.argpartition(price[some], _PAIRED)[:_PAIRED]]
        if some.size < 2:
            return False
        cls, to, now, weight = cls[some], to[some], now[some], weight[some]
        left = linear.room - linear.used(rung)
        gain = weight * (linear.gain[to] - linear.gain[now])
        change = weight * (linear.use[:, to] - linear.use[:, now])
        both = gain[:, None] + gain[None]
        fits = (cls[:, None] != cls[None]) & (both > 1e-15 * self._top())
        for row, room in zip(change, left.tolist(), strict=True):
            fits &= row[:, None] + row[None] <= room
        if not fits.any():
            return False
        one, two = np.unravel_index(int(np.where(fits, both, -np.inf).argmax()), both.shape)
        before = rung.copy()
        rung[cls[one]], rung[cls[two]] = to[one], to[two]
        if bool((linear.used(rung) <= linear.room).all()):
            return True
        rung[:] = before  # the sums were rounded
        return False


def _fits(change: FloatArray, left: FloatArray) -> BoolArray:
    """Which changes of the rows, shape (R, P), fit into what is left, shape (R,)."""
    return np.asarray((change <= left[:, None]).all(axis=0))
