"""Single actions: what serving every query alike would buy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.allocators.allocation import Fallback
from scaling.curves import BoolArray, FloatArray, IntArray, Menu, distinct


@dataclass(frozen=True)
class Actions:
    """Every distinct action with its pooled value and cost over the classes that offer it."""

    menu: Menu
    example: IntArray  # a rung of each action
    value: FloatArray
    cost: Mapping[str, FloatArray]
    offered: FloatArray  # share of the usable weight

    @classmethod
    def of(cls, menu: Menu, mass: FloatArray, allowed: BoolArray | None) -> Actions:
        """Pool the rungs on offer; `mass` is the weight of the classes on each curve."""
        weight = np.repeat(mass, np.diff(menu.start))
        on_offer = weight > 0 if allowed is None else (weight > 0) & allowed
        rungs = np.flatnonzero(on_offer)
        weight = weight[rungs]
        code, count = np.zeros(rungs.size, dtype=np.int64), 1
        for column in menu.action.values():
            if column.strides == (0,):  # one value at every rung
                continue
            places, size = _codes(column[rungs])
            code = code * size + places
            if (count := count * size) > 1 << 24:
                code = distinct(code)[1]
                count = int(code.max()) + 1
        weights = np.bincount(code, weight, count)
        known = weights > 0
        example = np.zeros(count, dtype=np.int64)
        example[code[::-1]] = rungs[::-1]

        def pooled(column: FloatArray) -> FloatArray:
            return np.bincount(code, weight * column[rungs], count)[known] / weights[known]

        return cls(
            menu,
            example[known],
            pooled(menu.value),
            {name: pooled(column) for name, column in menu.cost.items()},
            np.minimum(weights[known] / math.fsum(mass.tolist()), 1.0),
        )

    def best(self, caps: Mapping[str, float], resource: str, *, skip: bool) -> Fallback | None:
        """The most valuable action within the caps, of those that the most classes offer.

        Actions that all classes offer come first; where none of these fits, any that fits may
        serve, pooled over the classes that offer it. None where none fits; with `skip` doing
        nothing.
        """
        fits = np.ones(self.example.size, dtype=bool)
        for name, cap in caps.items():
            fits &= self.cost[name] <= cap * (1 + 1e-12)
        everywhere = fits & (self.offered >= 1 - 1e-12)
        pool = np.flatnonzero(everywhere if everywhere.any() else fits)
        if not pool.size:
            return Fallback({}, 0.0, dict.fromkeys(self.cost, 0.0)) if skip else None
        order = np.lexsort((pool, self.cost[resource][pool], -self.value[pool]))
        return self._fallback(int(pool[order[0]]))

    def cheapest(self, resource: str) -> Fallback:
        """The action with the smallest pooled cost, of equally cheap ones the most valuable."""
        return self._fallback(int(np.lexsort((-self.value, self.cost[resource]))[0]))

    def _fallback(self, action: int) -> Fallback:
        return Fallback(
            self.menu.action_of(int(self.example[action])),
            float(self.value[action]),
            {name: float(column[action]) for name, column in self.cost.items()},
            float(self.offered[action]),
        )


def _codes(column: NDArray[Any]) -> tuple[IntArray, int]:
    """A number for each distinct entry, in sorted order, and how many numbers there may be."""
    if column.dtype.kind in "iu" and column.size and column.min() >= 0 and column.max() < 1 << 20:
        return column.astype(np.int64), int(column.max()) + 1
    if column.dtype.kind in "iub":
        values, places = np.unique(column, return_inverse=True)
        return places.astype(np.int64), values.size
    entries = column.tolist()  # sorting millions of equal strings is slow
    number = {entry: place for place, entry in enumerate(sorted(set(entries)))}
    return np.fromiter((number[entry] for entry in entries), np.int64, len(entries)), len(number)
