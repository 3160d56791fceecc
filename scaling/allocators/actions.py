"""Single actions: what serving every query alike would buy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.allocators.allocation import Fallback
from scaling.curves import BoolArray, FloatArray, IntArray, Menu, distinct

if TYPE_CHECKING:
    from scaling.curves import OwnCost


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

    def own(self, known: OwnCost) -> dict[str, FloatArray]:
        """What every action costs a class, by resource."""
        columns = {name: column[self.example] for name, column in self.menu.action.items()}
        return own_cost(known, columns, self.cost)

    def best(
        self,
        caps: Mapping[str, float],
        resource: str,
        *,
        skip: bool,
        fits: BoolArray | None = None,
    ) -> Fallback | None:
        """The most valuable action within the caps, of those that the most classes offer.

        Actions that all classes offer come first; where none of these fits, any that fits may
        serve, pooled over the classes that offer it. None where none fits; with `skip` doing
        nothing. `fits` leaves out actions for other reasons.
        """
        fits = np.ones(self.example.size, dtype=bool) if fits is None else fits.copy()
        for name, cap in caps.items():
            fits &= self.cost[name] <= cap * (1 + 1e-12)
        everywhere = fits & (self.offered >= 1 - 1e-12)
        pool = np.flatnonzero(everywhere if everywhere.any() else fits)
        if not pool.size:
            return nothing(self.menu) if skip else None
        order = np.lexsort((pool, self.cost[resource][pool], -self.value[pool]))
        return self._fallback(int(pool[order[0]]))

    def cheapest(self, cost: FloatArray) -> Fallback:
        """The action with the smallest of these costs, of equally cheap ones the most valuable."""
        return self._fallback(int(np.lexsort((-self.value, cost))[0]))

    def _fallback(self, action: int) -> Fallback:
        return Fallback(
            self.menu.action_of(int(self.example[action])),
            float(self.value[action]),
            {name: float(column[action]) for name, column in self.cost.items()},
            float(self.offered[action]),
        )


def nothing(menu: Menu) -> Fallback:
    """Doing nothing as the fallback."""
    return Fallback({}, 0.0, dict.fromkeys(menu.cost, 0.0), nothing=True)


def own_cost(
    known: OwnCost, columns: Mapping[str, NDArray[Any]], pooled: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """What actions cost a class whose own costs are known; the pooled cost where they say nothing.

    Args:
        known: the class's entry in `Menu.unusable_cost`.
        columns: action columns, each of shape (A,).
        pooled: resource to the actions' pooled cost, shape (A,).
    """
    out = {name: np.array(column, dtype=np.float64) for name, column in pooled.items()}
    size = next(iter(out.values())).size
    samples = np.asarray(columns.get("samples", np.ones(size, dtype=np.int64)))
    left = np.ones(size, dtype=bool)
    for action, cost in known:
        mine = left.copy()
        for name, value in action.items():
            if name in columns:
                mine &= columns[name] == value
        left &= ~mine
        for resource, amount in cost.at(samples).items():
            if resource in out:
                out[resource][mine] = amount[mine]
    return out


def own_costs_of(known: OwnCost, fallback: Fallback) -> dict[str, float]:
    """What the fallback costs a class whose own costs are known."""
    if fallback.nothing:
        return dict(fallback.cost)
    columns = {name: np.array([value]) for name, value in fallback.action.items()}
    pooled = {name: np.array([amount]) for name, amount in fallback.cost.items()}
    return {name: float(each[0]) for name, each in own_cost(known, columns, pooled).items()}


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
