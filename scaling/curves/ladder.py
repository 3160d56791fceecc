"""Ladders: a menu cut down to the rungs that are served."""

from __future__ import annotations

import numpy as np

from scaling.curves.arrays import BoolArray, FloatArray, IntArray, distinct
from scaling.curves.hull import Hull
from scaling.curves.menu import Menu

_MOST_RUNGS = 64


def ladder(
    menu: Menu,
    hull: Hull,
    position: IntArray,
    resource: str,
    *,
    allowed: BoolArray | None = None,
) -> tuple[Menu, IntArray]:
    """The menu reduced to at most 64 hull rungs a curve, for serving.

    Kept of a longer hull: both ends, the class's own vertex and its neighbours, and vertices that
    stand nearest to equal ratios of cost in between. Classes of one curve with different own
    vertices get ladders of their own where the hull is longer than that. A curve whose hull is
    doing nothing alone keeps its cheapest rung.

    Args:
        menu: the full menu.
        hull: its hull in the priced resource.
        position: shape (C,), each class's vertex, counted from the start of its curve's hull; any
            value where the class is unusable.
        resource: the priced resource.
        allowed: shape (N,), rungs on offer; all where None.

    Returns:
        The reduced menu, and the classes' rungs in it, shape (C,): -1 for doing nothing, -2 for an
        unusable class.
    """
    length = np.diff(hull.start)
    idle = np.zeros(length.size, dtype=np.int64)  # 1 where the hull begins with doing nothing
    idle[length > 0] = hull.index[hull.start[:-1][length > 0]] == -1
    usable = menu.curve >= 0
    own = np.where(usable, menu.curve, 0)
    apart = length[own] - idle[own] > _MOST_RUNGS
    width = int(length.max(initial=0)) + 1
    code = own * (width + 1) + np.where(apart, position + 1, 0)
    units, inverse = distinct(code[usable])
    curves, chosen = units // (width + 1), units % (width + 1) - 1

    picked: list[IntArray] = []
    for m, p in zip(curves.tolist(), chosen.tolist(), strict=True):
        low, high = int(hull.start[m] + idle[m]), int(hull.start[m + 1])
        if low == high:
            picked.append(_cheapest(menu, m, resource, allowed))
        elif high - low <= _MOST_RUNGS:
            picked.append(np.arange(low, high))
        else:
            picked.append(_spread(hull.cost, low, high, int(hull.start[m]) + p))
    start = np.concatenate(([0], np.cumsum([p.size for p in picked]))).astype(np.int64)
    vertex = np.concatenate(picked) if picked else np.zeros(0, dtype=np.int64)
    # a cheapest rung that is no vertex is marked by its complement
    rung = np.where(vertex >= 0, hull.index[np.maximum(vertex, 0)], ~vertex)

    unit = np.full(menu.curve.size, -1, dtype=np.int64)
    unit[usable] = inverse
    at = np.full(menu.curve.size, -2, dtype=np.int64)
    wanted = np.where(usable, hull.start[own] + position, 0)
    nothing = usable & (position < idle[own])
    at[nothing] = -1
    acting = np.flatnonzero(usable & ~nothing)
    offset = hull.index.size + 1
    place = np.repeat(np.arange(len(picked)), np.diff(start)) * offset + np.maximum(vertex, 0)
    at[acting] = np.searchsorted(place, unit[acting] * offset + wanted[acting])
    return menu.regrouped(rung, start, unit), at


def _spread(cost: FloatArray, low: int, high: int, own: int) -> IntArray:
    """At most 64 of the vertices `low:high`, both ends and the neighbours of `own` among them."""
    kept = {low, high - 1, *(p for p in (own - 1, own, own + 1) if low <= p < high)}
    begin = cost[low] if cost[low] > 0 else cost[low + 1]
    targets = np.geomspace(begin, cost[high - 1], _MOST_RUNGS - 5)
    near = np.clip(np.searchsorted(cost[low:high], targets), 0, high - low - 1) + low
    return np.array(sorted(kept | set(near.tolist())), dtype=np.int64)


def _cheapest(menu: Menu, curve: int, resource: str, allowed: BoolArray | None) -> IntArray:
    """The complement of the cheapest rung of a curve; empty where no rung is allowed."""
    rungs = np.arange(menu.start[curve], menu.start[curve + 1])
    if allowed is not None:
        rungs = rungs[allowed[rungs]]
    order = np.lexsort((-menu.value[rungs], menu.cost[resource][rungs]))
    return ~rungs[order[:1]]
