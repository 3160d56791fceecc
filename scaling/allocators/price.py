"""One price for everybody: the solve for one binding budget.

The problem is the multiple-choice knapsack: choose one rung a class so that the weighted value is
largest and the weighted cost stays within the budget. On the concave hulls every step from one
vertex to the next has a slope, and at a price per unit of the resource a class takes the steps
whose slope is above it. So all steps are taken in the order of their slopes, which solves the relaxed
problem exactly. The first step that does not fit whole is the critical one, and its slope is the
shadow price. Filling then goes on down the list with whatever still fits.

The order does not depend on the budget, so more budget never gives less value: where two budgets
first differ, the larger one takes a step that costs more than all the smaller one has left, at a
slope that nothing later exceeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.curves import distinct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from scaling.curves import BoolArray, FloatArray, Hull, IntArray


@dataclass(frozen=True)
class Division:
    """One class divided between two neighbouring vertices.

    Attributes:
        index: the class; its `position` in the solution is the lower vertex.
        share: the share of its queries that get the next vertex, in (0, 1).
    """

    index: int
    share: float


@dataclass(frozen=True)
class Solution:
    """What each class gets.

    Attributes:
        position: shape (C,), vertex of each class, counted from the start of its curve's hull.
        price: value per unit of the resource at the optimum, 0 where the budget does not bind.
        divided: the class that is divided, if any.
    """

    position: IntArray
    price: float
    divided: Division | None = None


def solve(
    hull: Hull,
    curve: IntArray,
    weight: FloatArray,
    budget: float,
    *,
    key: Mapping[str, NDArray[Any]],
    split: bool = False,
) -> Solution:
    """Take steps in the order of their slopes while they fit.

    Ties are broken by the menu itself: slope, then the cost reached, then the curve as a whole,
    then weight, then the class key. The order in which classes or curves are listed never matters.

    Args:
        hull: vertices of every curve in the priced resource.
        curve: shape (C,), the curve of each class; none is negative.
        weight: shape (C,), positive.
        budget: most that `sum(weight * cost)` may be; the first vertices must fit.
        key: class columns, each of shape (C,).
        split: divide the class at the critical step so that the budget is used up.
    """
    kind, example = _kinds(hull, curve)
    state = _State.begin_with(hull, kind, example, weight, key)
    steps = _Steps.of(hull, example)

    # whole kinds at once, up to the critical step
    rest = budget - state.spent()
    top, near = _bracket(steps, state.mass, rest)
    np.maximum.at(state.level, steps.kind[top], steps.to[top])
    near = near[np.lexsort((steps.kind[near], steps.reached[near], -steps.slope[near]))]
    kinds, sizes = steps.kind[near], steps.size[near]
    rest = budget - state.spent()
    whole = int(np.searchsorted(np.cumsum(state.mass[kinds] * sizes), rest, side="right"))
    np.maximum.at(state.level, kinds[:whole], steps.to[near[:whole]])
    rest = budget - state.spent()
    while rest < 0 and whole > 0:  # the running sum was rounded
        whole -= 1
        state.level[kinds[whole]] -= 1
        rest = budget - state.spent()
    while whole < near.size and state.mass[kinds[whole]] * sizes[whole] <= rest:
        state.level[kinds[whole]] += 1
        whole += 1
        rest = budget - state.spent()
    price = float(steps.slope[near[whole]]) if whole < near.size else 0.0

    divided: Division | None = None
    if split and whole < near.size:
        divided = state.divide(int(kinds[whole]), float(sizes[whole]), rest)
    elif whole < near.size:
        rest = state.fill(kinds[whole:], sizes[whole:], rest)
        later = state.within_reach(steps, rest)
        later = later[np.lexsort((steps.kind[later], steps.reached[later], -steps.slope[later]))]
        state.fill(steps.kind[later], steps.size[later], rest)
    running = state.position < 0
    state.position[running] = state.level[kind[running]]
    return Solution(state.position, price, divided)


@dataclass(frozen=True)
class _Steps:
    """Steps from one vertex to the next, kind by kind, each kind's in their order.

    Attributes:
        kind: whose step it is.
        to: the vertex that it leads to, counted from the start of the hull.
        size: its cost.
        reached: the cost of the vertex that it leads to.
        slope: value per unit of cost.
    """

    kind: IntArray
    to: IntArray
    size: FloatArray
    reached: FloatArray
    slope: FloatArray

    @classmethod
    def of(cls, hull: Hull, example: IntArray) -> _Steps:
        count = np.diff(hull.start)[example] - 1
        kind = np.repeat(np.arange(example.size), count)
        to = np.arange(kind.size) - np.repeat(np.cumsum(count) - count - 1, count)
        vertex = hull.start[example][kind] + to
        reached = hull.cost[vertex]
        return cls(kind, to, reached - hull.cost[vertex - 1], reached, hull.slope[vertex])


def _bracket(steps: _Steps, mass: FloatArray, rest: float) -> tuple[IntArray, IntArray]:
    """Steps steep enough to be taken whole, and those among which the critical one is.

    Narrowed by the median slope of a sample, again and again, instead of sorting millions of steps.
    Steps of one slope are never parted.
    """
    near = np.arange(steps.slope.size)
    need = mass[steps.kind] * steps.size
    top: list[IntArray] = []
    while near.size > 4096:
        slope = steps.slope[near]
        steep = slope > np.median(slope[:: near.size // 1024])
        above = near[steep]
        total = float(need[above].sum())
        if not above.size or abs(total - rest) <= 1e-9 * rest:  # too close for a rounded sum
            break
        if total < rest:
            top.append(above)
            rest -= total
            near = near[~steep]
        else:
            near = above
    return np.concatenate([np.zeros(0, dtype=np.int64), *top]), near


@dataclass
class _State:
    """How far each kind has come, and the classes that have dropped out of it.

    Attributes:
        level: vertex of the classes that still run, by kind.
        position: vertex of the classes that have dropped out; -1 of the others.
        mass: weight of the classes that still run, by kind.
        lightest: smallest weight among them, by kind.
        running: whether any still run, by kind.
        order: classes kind by kind, heaviest first; those of kind `k` begin at `first[k]`.
        members: classes that still run, of kinds that some have dropped out of.
    """

    level: IntArray
    position: IntArray
    mass: FloatArray
    lightest: FloatArray
    running: BoolArray
    order: IntArray
    first: IntArray
    members: dict[int, IntArray]
    cost: FloatArray
    begin: IntArray
    weight: FloatArray
    key: Mapping[str, NDArray[Any]]

    @classmethod
    def begin_with(
        cls,
        hull: Hull,
        kind: IntArray,
        example: IntArray,
        weight: FloatArray,
        key: Mapping[str, NDArray[Any]],
    ) -> _State:
        K = example.size
        order = np.lexsort((-weight, kind))
        first = np.searchsorted(kind[order], np.arange(K + 1))
        return cls(
            level=np.zeros(K, dtype=np.int64),
            position=np.full(kind.size, -1, dtype=np.int64),
            mass=np.add.reduceat(weight[order], first[:-1]),
            lightest=weight[order][first[1:] - 1],
            running=np.ones(K, dtype=bool),
            order=order,
            first=first,
            members={},
            cost=hull.cost,
            begin=hull.start[example],
            weight=weight,
            key=key,
        )

    def spent(self) -> float:
        """Cost of all kinds at their levels, while no class has dropped out."""
        return math.fsum((self.mass * self.cost[self.begin + self.level]).tolist())

    def classes(self, k: int) -> IntArray:
        """Classes of a kind that still run, heaviest first."""
        return self.members.get(k, self.order[self.first[k] : self.first[k + 1]])

    def divide(self, k: int, size: float, rest: float) -> Division | None:
        """Take the step with as many classes as fit, and with a share of the next one."""
        classes = self.classes(k)
        classes = classes[_key_order(classes, self.key, self.weight)]
        need = self.weight[classes] * size
        taken = int(np.searchsorted(np.cumsum(need), rest, side="right"))
        taken = min(taken, classes.size - 1)
        self.position[classes[taken:]] = self.level[k]
        self.level[k] += 1
        share = (rest - math.fsum(need[:taken].tolist())) / float(need[taken])
        return Division(int(classes[taken]), share) if 0 < share < 1 else None

    def within_reach(self, steps: _Steps, rest: float) -> IntArray:
        """Steps not yet taken that may still be, given that what is left only shrinks."""
        ahead = np.flatnonzero(self.running[steps.kind] & (steps.to > self.level[steps.kind]))
        kinds, to = steps.kind[ahead], steps.to[ahead]
        blocked = self.lightest[kinds] * steps.size[ahead] > rest
        until = np.full(self.level.size, steps.slope.size + 1)
        np.minimum.at(until, kinds[blocked], to[blocked])
        return ahead[to < until[kinds]]

    def fill(self, kinds: IntArray, sizes: FloatArray, rest: float) -> float:
        """Go down a list of steps, skipping what does not fit into what is left.

        A class that cannot take a step drops out, since every later step of its curve builds on it.

        Returns:
            What is left.
        """
        chunk = 1 << 12
        for at in range(0, kinds.size, chunk):
            part, size = kinds[at : at + chunk], sizes[at : at + chunk]
            blocked = np.flatnonzero(self.lightest[part] * size > rest)
            until = np.full(self.level.size, chunk)
            np.minimum.at(until, part[blocked], blocked)
            open_ = self.running[part] & (np.arange(part.size) < until[part])
            for i in np.flatnonzero(open_).tolist():
                if self.running[part[i]]:
                    rest -= self._take(int(part[i]), float(size[i]), rest)
            for k in np.flatnonzero(until < chunk).tolist():
                if self.running[k]:
                    self._drop(k, self.classes(k))
                    self.running[k] = False
        return rest

    def _take(self, k: int, size: float, rest: float) -> float:
        """Take a step with the classes that it fits; what that costs."""
        if (need := float(self.mass[k]) * size) <= rest:
            self.level[k] += 1
            return need
        classes = self.classes(k)
        taken, need = _fitting(classes, size, rest, self.weight, self.key)
        self._drop(k, classes[~taken])
        if not taken.any():
            self.running[k] = False
            return 0.0
        self.members[k] = classes[taken]
        self.mass[k] = self.weight[self.members[k]].sum()
        self.lightest[k] = self.weight[self.members[k][-1]]
        self.level[k] += 1
        return need

    def _drop(self, k: int, classes: IntArray) -> None:
        self.position[classes] = self.level[k]


def _kinds(hull: Hull, curve: IntArray) -> tuple[IntArray, IntArray]:
    """Curves with the same hull are one kind; kinds are numbered by what they hold.

    Returns:
        The kind of each class, and one curve of each kind.
    """
    used, place = distinct(curve)
    # big-endian bytes of non-negative numbers sort as the numbers do
    value, cost = hull.value.astype(">f8"), hull.cost.astype(">f8")
    content = [
        (value[a:b].tobytes(), cost[a:b].tobytes())
        for a, b in zip(hull.start[used].tolist(), hull.start[used + 1].tolist(), strict=True)
    ]
    number = {item: k for k, item in enumerate(sorted(set(content)))}
    kind_of = np.array([number[item] for item in content], dtype=np.int64)
    example = np.zeros(len(number), dtype=np.int64)
    example[kind_of] = used
    return kind_of[place], example


def _fitting(
    classes: IntArray,
    step: float,
    rest: float,
    weight: FloatArray,
    key: Mapping[str, NDArray[Any]],
) -> tuple[BoolArray, float]:
    """Which of some classes, heaviest first, take a step; and what that costs."""
    w = weight[classes]
    taken = np.zeros(classes.size, dtype=bool)
    edges = np.concatenate(([0], np.flatnonzero(w[1:] != w[:-1]) + 1, [w.size]))
    spent = 0.0
    block = int(np.searchsorted(-w[edges[:-1]] * step, -rest))
    for low, high in zip(edges[block:-1].tolist(), edges[block + 1 :].tolist(), strict=True):
        need = float(w[low]) * step
        count = high - low
        if count * need > rest - spent:
            count = int((rest - spent) / need) + 1
        while count and spent + count * need > rest:
            count -= 1
        if count:
            spent += count * need
            group = np.arange(low, high)
            if count < high - low:
                group = group[_key_order(classes[low:high], key)][:count]
            taken[group] = True
    return taken, spent


def _key_order(
    classes: IntArray, key: Mapping[str, NDArray[Any]], weight: FloatArray | None = None
) -> IntArray:
    """Heaviest first where weights are given, then by class key."""
    columns = [column[classes] for column in reversed(list(key.values()))]
    if weight is not None:
        columns.append(-weight[classes])
    return np.lexsort(columns) if columns else np.arange(classes.size)


def dual_bound(
    price: float,
    budget: float,
    *,
    value: FloatArray,
    cost: FloatArray,
    start: IntArray,
    mass: FloatArray,
    allowed: BoolArray | None = None,
    nothing: bool | BoolArray = False,
) -> float:
    """Upper bound on the value of any allocation, hull or not (weak duality).

    `g(price) = price budget + sum_m mass_m max_j (value_mj - price cost_mj)` for any price >= 0.

    Args:
        price: value per unit of the resource.
        budget: total; may be infinite where the price is 0.
        value: shape (N,).
        cost: shape (N,), of the priced resource.
        start: shape (M + 1,).
        mass: shape (M,), weight of the classes on each curve.
        allowed: shape (N,), rungs on offer.
        nothing: whether doing nothing is on offer, on all curves or by curve, shape (M,).
    """
    net = value - price * cost
    if allowed is not None:
        net = np.where(allowed, net, -np.inf)
    best = best_of_curves(net, start)
    best = np.where(nothing, np.maximum(best, 0.0), best)
    used = mass > 0
    return (price * budget if price > 0 else 0.0) + math.fsum((mass[used] * best[used]).tolist())


def best_of_curves(amount: FloatArray, start: IntArray) -> FloatArray:
    """Largest `amount` on each curve, shape (M,); minus infinity where a curve has no rung."""
    best = np.full(start.size - 1, -np.inf)
    full = np.flatnonzero(np.diff(start) > 0)
    if full.size:
        best[full] = np.maximum.reduceat(amount, start[full])
    return best
