"""The upper concave hull of curves: the rungs that some price selects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.curves.arrays import BoolArray, FloatArray, IntArray

_BLOCK = 1 << 16
"""Rungs whose hulls are made at a time: what that takes fits into the cache."""


@dataclass(frozen=True)
class Hull:
    """The rungs of each curve that some price selects, cheapest first.

    Attributes:
        index: shape (H,), rungs of the menu; -1 is doing nothing (value 0, cost 0).
        start: shape (M + 1,), the vertices of curve `m` are `index[start[m]:start[m + 1]]`.
        value, cost: shape (H,), both strictly increasing along a curve.
        slope: shape (H,), value per unit of cost over the vertex before, non-increasing along a
            curve; NaN at the first vertex.
    """

    index: IntArray
    start: IntArray
    value: FloatArray
    cost: FloatArray
    slope: FloatArray


def upper_hull(
    value: FloatArray,
    cost: FloatArray,
    start: IntArray,
    *,
    allowed: BoolArray | None = None,
    nothing: bool | BoolArray = False,
) -> Hull:
    """Upper concave hull of every curve against one resource.

    A hull begins at the cheapest rung (of equally cheap ones the most valuable) and ends at the
    cheapest of the most valuable ones. Rungs on a straight part of the hull belong to it: they make
    the steps smaller.

    Args:
        value: shape (N,).
        cost: shape (N,), of the resource that is priced.
        start: shape (M + 1,), where curves begin.
        allowed: shape (N,), rungs on offer; all where None.
        nothing: put doing nothing (value 0, cost 0) before every curve, or before those curves where
            it is true, shape (M,).
    """
    M = start.size - 1
    idle = np.broadcast_to(nothing, (M,))
    cuts = np.unique(np.append(np.searchsorted(start, np.arange(0, value.size, _BLOCK)), M))
    if cuts.size <= 2:
        return _hull_of_block(value, cost, start, allowed=allowed, nothing=idle)
    parts = []
    for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        rungs = slice(int(start[first]), int(start[last]))
        hull = _hull_of_block(
            value[rungs],
            cost[rungs],
            start[first : last + 1] - rungs.start,
            allowed=None if allowed is None else allowed[rungs],
            nothing=idle[first:last],
        )
        hull.index[hull.index >= 0] += rungs.start
        parts.append(hull)
    length = np.concatenate([np.diff(part.start) for part in parts])
    return Hull(
        np.concatenate([part.index for part in parts]),
        np.concatenate(([0], np.cumsum(length, dtype=np.int64))),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.cost for part in parts]),
        np.concatenate([part.slope for part in parts]),
    )


def _hull_of_block(
    value: FloatArray,
    cost: FloatArray,
    start: IntArray,
    *,
    allowed: BoolArray | None,
    nothing: BoolArray,
) -> Hull:
    """Hulls of the curves of one block."""
    M = start.size - 1
    curve = np.repeat(np.arange(M), np.diff(start))
    index = np.arange(value.size)
    if allowed is not None:
        index, curve = index[allowed], curve[allowed]
    v, c = value[index], cost[index]
    idle = np.flatnonzero(nothing)
    if idle.size:
        first = np.searchsorted(curve, idle)
        index, v, c = np.insert(index, first, -1), np.insert(v, first, 0), np.insert(c, first, 0)
        curve = np.insert(curve, first, idle)
    same = curve[1:] == curve[:-1]
    if bool((same & (c[1:] <= c[:-1])).any()):
        order = np.lexsort((-v, c, curve))
        index, v, c, curve = index[order], v[order], c[order], curve[order]
        same = curve[1:] == curve[:-1]
    if bool((same & (v[1:] <= v[:-1])).any()):
        best = _undominated(v, curve)
        index, v, c, curve = index[best], v[best], c[best], curve[best]
    corner = _concave(v, c, curve)
    index, v, c, curve = index[corner], v[corner], c[corner], curve[corner]
    begin = np.searchsorted(curve, np.arange(M + 1)).astype(np.int64)
    slope = np.concatenate(([np.nan], _slopes(v, c, curve)))[: v.size]
    rising = np.flatnonzero(slope[1:] > slope[:-1]) + 1
    for m in np.unique(curve[rising]):  # straight parts, up to rounding
        part = slice(begin[m] + 1, begin[m + 1])
        slope[part] = np.minimum.accumulate(slope[part])
    return Hull(index, begin, v, c, slope)


def _slopes(v: FloatArray, c: FloatArray, curve: IntArray) -> FloatArray:
    """Value per cost between neighbours, NaN between curves; shape (n - 1,)."""
    same = curve[1:] == curve[:-1]
    slope = np.full(same.shape, np.nan)
    with np.errstate(over="ignore"):
        np.divide(np.diff(v), np.diff(c), out=slope, where=same)
    return np.minimum(slope, np.finfo(np.float64).max)


def _undominated(v: FloatArray, curve: IntArray) -> BoolArray:
    """Which points beat every earlier point of their curve."""
    ranks, rank = np.unique(v, return_inverse=True)
    height = curve * ranks.size + rank  # rises from curve to curve: one running maximum serves all
    keep = np.ones(v.size, dtype=bool)
    keep[1:] = (curve[1:] != curve[:-1]) | (height[1:] > np.maximum.accumulate(height)[:-1])
    return keep


def _concave(v: FloatArray, c: FloatArray, curve: IntArray) -> IntArray:
    """Which points lie on the hull, as indices; cost and value rise strictly along a curve.

    A point below the chord of two others is no vertex, whatever becomes of those two. So all such
    points go at once, and then again those that come to lie below the chord of their neighbours.
    """
    slope = _slopes(v, c, curve)
    with np.errstate(over="ignore"):
        below = np.flatnonzero(slope[1:] > slope[:-1] * (1 + 1e-12)) + 1  # NaN between curves
    left = np.ones(v.size, dtype=bool)
    left[below] = False
    changed = np.zeros(int(curve.max(initial=0)) + 1, dtype=bool)
    changed[curve[below]] = True
    rest = np.flatnonzero(left & changed[curve])
    left[rest] = _linked(v[rest], c[rest], curve[rest])
    return np.flatnonzero(left)


def _linked(v: FloatArray, c: FloatArray, curve: IntArray) -> BoolArray:
    """Which points lie on the hull, by unlinking those below the chord of their neighbours.

    Only neighbours of points that went are looked at again. Where that takes very many rounds, the
    curves that still change are walked one by one.
    """
    left = np.ones(v.size, dtype=bool)
    before, after = np.arange(v.size) - 1, np.arange(v.size) + 1
    inner = np.zeros(v.size, dtype=bool)
    inner[1:-1] = (curve[2:] == curve[1:-1]) & (curve[:-2] == curve[1:-1])
    look = np.flatnonzero(inner)
    for _ in range(2000):
        a, b = before[look], after[look]
        rise = (v[look] - v[a]) * (c[b] - c[look])
        going = look[rise * (1 + 1e-12) < (v[b] - v[look]) * (c[look] - c[a])]
        if not going.size:
            return left
        # of a row of neighbours every other one goes now, so that the links stay whole
        place = np.arange(going.size)
        head = np.ones(going.size, dtype=bool)
        head[1:] = before[going[1:]] != going[:-1]
        odd = (place - np.maximum.accumulate(np.where(head, place, 0))) % 2 == 1
        gone = going[~odd]
        left[gone] = False
        after[before[gone]] = after[gone]
        before[after[gone]] = before[gone]
        look = np.unique(np.concatenate((before[gone], after[gone], going[odd])))
        look = look[inner[look]]
    busy = np.zeros(int(curve.max(initial=0)) + 1, dtype=bool)
    busy[curve[look]] = True
    for m in np.flatnonzero(busy):
        points = np.flatnonzero(left & (curve == m))
        left[points] = False
        left[_chain(points.tolist(), v, c)] = True
    return left


def _chain(points: list[int], v: FloatArray, c: FloatArray) -> list[int]:
    """Vertices among the points of one curve, one after the other (Andrew's monotone chain)."""
    chain: list[int] = []
    for point in points:
        while len(chain) > 1:
            a, b = chain[-2], chain[-1]
            rise = (v[b] - v[a]) * (c[point] - c[b])
            if rise * (1 + 1e-12) >= (v[point] - v[b]) * (c[b] - c[a]):
                break
            chain.pop()
        chain.append(point)
    return chain
