"""Caution: the allocation with the largest mean value over the worst draws.

The conditional value at risk of level α is the mean over the worst `1 - α` of the draws. It is the
smallest mean under weights of the draws that none exceeds by `1 / (1 - α)` (Rockafellar and Uryasev
2000, and its dual), so

    max_x CVaR(x) = max_x min_q sum_d q_d F_d(x),   0 <= q_d <= 1 / ((1 - α) D),  sum_d q_d = 1,

with `F_d(x)` the mean value of allocation x under draw d. For given q the inside is the ordinary
problem with values `sum_d q_d v_d`, which the price solve answers with a dual bound; and for any q
that bound holds for every allocation. The weights come from a linear program over the allocations
met so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scaling.allocators import result
from scaling.allocators.price import Solution
from scaling.allocators.risk import Scenarios, own_curves, thinned, within_each
from scaling.curves import FloatArray, IntArray, Menu, upper_hull
from scaling.errors import UsageError

if TYPE_CHECKING:
    from scaling.allocators.allocation import Allocation
    from scaling.allocators.limit import Limit
    from scaling.allocators.problem import Answer, Problem

ROUNDS = 60
_STALLED = 6
"""Rounds that bring the bound no lower, after which no more are tried."""
_ENOUGH = 1e-6
_HELD = 30_000_000
"""Values, rungs by draws, that are held at a time."""


@dataclass(frozen=True)
class TailValue:
    """The CVaR of an allocation, with its certificate.

    Attributes:
        level: α; the mean is over the worst `1 - α` of the draws.
        value: of the allocation.
        bound: no allocation within the limits has a larger one.
        of_mean_optimum: of the allocation that has the largest mean value.
        draws: how many.
        seed: of posterior draws.
    """

    level: float
    value: float
    bound: float
    of_mean_optimum: float
    draws: int
    seed: int

    @property
    def relative_gap(self) -> float:
        """`(bound - value) / bound`."""
        return (self.bound - self.value) / self.bound if self.bound > 0 else 0.0

    def document(self) -> dict[str, float]:
        """As the budget table has it."""
        return {
            "level": self.level,
            "value": self.value,
            "bound": self.bound,
            "relative_gap": self.relative_gap,
            "of_mean_optimum": self.of_mean_optimum,
        }


def tail_mean(outcome: FloatArray, level: float) -> float:
    """Mean over the worst `1 - level` of the draws, the last one in part where need be.

    Args:
        outcome: shape (D,).
        level: from 0 (the mean) to below 1.
    """
    ordered = np.sort(outcome)
    weight = np.full(ordered.size, 1 / ((1 - level) * ordered.size))
    before = np.concatenate(([0.0], np.cumsum(weight)[:-1]))
    return float(ordered @ np.clip(1 - before, 0.0, weight))


@dataclass(frozen=True)
class Solved:
    """The best allocation for one weighting of the draws.

    Attributes:
        rung: shape (C,), -1 for doing nothing.
        bound: on the weighted mean value of any allocation.
        price: the shadow price.
    """

    rung: IntArray
    bound: float
    price: float


@dataclass(frozen=True)
class Tail:
    """What `maximise` found.

    Attributes:
        rung: shape (C,), of the allocation with the largest CVaR that was met.
        value: its CVaR.
        bound: on the CVaR of any allocation.
        of_mean_optimum: CVaR of the allocation with the largest mean value.
        weights: shape (D,), of the draws, that the bound came from.
        price: the shadow price there, value of the CVaR per unit.
    """

    rung: IntArray
    value: float
    bound: float
    of_mean_optimum: float
    weights: FloatArray
    price: float


def maximise(
    menu: Menu, draws: FloatArray, level: float, solver: Callable[[FloatArray], Solved]
) -> Tail:
    """The allocation with the largest CVaR that is met, and a bound on all.

    Args:
        menu: every class with a curve of its own, all usable.
        draws: shape (N, D), values of its rungs under each draw.
        level: of the CVaR.
        solver: the price solve of the menu at other values, shape (N,).
    """
    cap = 1 / ((1 - level) * draws.shape[1])
    weight = menu.weight / menu.weight.sum()

    def outcome(rung: IntArray) -> FloatArray:
        return outcome_of(weight, draws, rung)

    found = [solver(menu.value)]
    met = [outcome(found[0].rung)]
    best_q = q = _worst(met[0], cap)
    bound, price, since = math.inf, found[0].price, 0
    for _ in range(ROUNDS):
        before = bound
        # the program leaps from corner to corner: half-way to the best weights so far, too
        for weights in (q, (q + best_q) / 2):
            solved = solver(np.clip(draws @ weights, 0.0, 1.0))
            found.append(solved)
            met.append(outcome(solved.rung))
            if solved.bound < bound:
                bound, best_q, price = solved.bound, weights, solved.price
        q, reached = _weights(np.array(met), cap)
        # whole actions do not mix, so that what was met may stay below the bound for good
        since = 0 if bound < before * (1 - _ENOUGH) else since + 1
        if since == _STALLED or bound - reached <= _ENOUGH * max(bound, 1e-300):
            break
    tails = [tail_mean(each, level) for each in met]
    best = int(np.argmax(tails))
    return Tail(found[best].rung, tails[best], max(bound, tails[best]), tails[0], best_q, price)


def outcome_of(weight: FloatArray, draws: FloatArray, rung: IntArray) -> FloatArray:
    """Mean value of an allocation under each draw, shape (D,); `weight` sums to 1."""
    got = np.where(rung[:, None] >= 0, draws[np.maximum(rung, 0)], 0.0)
    return np.asarray(weight @ got)


def solve(
    menu: Menu,
    draws: Scenarios,
    level: float,
    solved: Callable[[Menu], tuple[Limit | None, Answer, Problem]],
    *,
    seed: int,
) -> Allocation:
    """The allocation of a menu with the largest CVaR of the mean value.

    The search runs over 64 rungs a class and model where all rungs by all draws would not fit into
    memory; the weights that it ends with are then solved for with all of them, which gives the
    bound. Ladders are of the mean value and lead through the chosen action: what some price would
    select instead, in the mean, is left out of them.

    Args:
        menu: what is on offer.
        draws: of its values.
        level: of the CVaR.
        solved: the price solve of a menu.
        seed: recorded.

    Raises:
        UsageError: some class has no usable group, so that nothing is known of it in any draw.
    """
    lost = np.flatnonzero(menu.curve < 0)
    if lost.size:
        raise UsageError(
            f"Class {menu.class_name(int(lost[0]))} has no usable group ({lost.size} of "
            f"{menu.curve.size} classes), so its value in the worst draws is not known. Leave such "
            "classes out of the fit (--where), or leave out --cvar."
        )
    classes = np.arange(menu.curve.size)
    every = [np.arange(menu.start[m], menu.start[m + 1]) for m in menu.curve]
    whole = replace(own_curves(menu, classes, every), cautions=menu.cautions)
    priced, mean, problem = solved(whole)

    def solver_of(part: Menu) -> Callable[[FloatArray], Solved]:
        def solver(value: FloatArray) -> Solved:
            _, answer, _ = solved(replace(part, value=value, draws=None))
            return Solved(answer.rung, answer.bound, answer.solution.price)

        return solver

    if whole.value.size * draws.count <= _HELD:
        tail = maximise(whole, draws.of(whole), level, solver_of(whole))
    else:
        tail = _thinly(menu, whole, every, draws, level, solver_of, problem)
    allocation = result.allocation(
        problem, through(problem, mean, tail.rung, priced), priced, split=False, seed=seed
    )
    limits = tuple(
        replace(limit, price=tail.price) if limit.price else limit for limit in allocation.limits
    )
    return replace(
        allocation,
        limits=limits,
        cvar=TailValue(level, tail.value, tail.bound, tail.of_mean_optimum, draws.count, seed),
        cautions=(*allocation.cautions, RISK_AVERSE),
    )


RISK_AVERSE = {
    "code": "risk-averse",
    "message": "actions were chosen for the worst draws of what is not known (CVaR), not for the "
    "mean value, which ladders and the certificate are about.",
}


def _thinly(
    menu: Menu,
    whole: Menu,
    every: list[IntArray],
    draws: Scenarios,
    level: float,
    solver_of: Callable[[Menu], Callable[[FloatArray], Solved]],
    problem: Problem,
) -> Tail:
    """Search over few rungs a class, then solve for all rungs at the weights it ends with."""
    cost, classes = menu.cost[problem.resource_of(None)], np.arange(menu.curve.size)
    few = [thinned(menu, int(m), within_each(menu, problem.limits), cost) for m in menu.curve]
    part = own_curves(menu, classes, few)
    held = draws.of(part)
    tail = maximise(part, held, level, solver_of(part))
    value = np.empty(whole.value.size)
    each = max(1, _HELD // (draws.count * max(rungs.size for rungs in every)))
    for at in range(0, classes.size, each):
        some = classes[at : at + each]
        rungs = [np.arange(whole.start[c], whole.start[c + 1]) for c in some]
        block = slice(int(whole.start[some[0]]), int(whole.start[some[-1] + 1]))
        value[block] = draws.of(own_curves(whole, some, rungs)) @ tail.weights
    solved = solver_of(whole)(np.clip(value, 0.0, 1.0))
    weight = menu.weight / menu.weight.sum()
    found = np.concatenate(few)
    # rungs of the thin menu, of its curve in the menu, of the whole one
    shift = whole.start[:-1] - menu.start[menu.curve]
    back = np.where(tail.rung >= 0, found[np.maximum(tail.rung, 0)] + shift, -1)
    best, value_ = back, tail.value
    chosen = [np.array([r] if r >= 0 else [], dtype=np.int64) for r in solved.rung.tolist()]
    got = own_curves(whole, classes, chosen)
    own = np.where(np.diff(got.start) > 0, got.start[:-1], -1)
    of_solved = tail_mean(outcome_of(weight, draws.of(got), own), level)
    if of_solved > value_:
        best, value_ = solved.rung, of_solved
    return Tail(
        best, value_, max(solved.bound, value_), tail.of_mean_optimum, tail.weights, solved.price
    )


def through(problem: Problem, answer: Answer, rung: IntArray, priced: Limit | None) -> Answer:
    """An answer of these rungs, with ladders that are concave in the mean value and hold them.

    Left out of a class's ladder are actions that are cheaper and worth no less than its own, that
    are dearer and worth no more, and dearer ones that are a better bargain than the step to its own.

    Args:
        problem: every class with a curve of its own.
        answer: to the same problem, for its bound, its even spend and its fallback.
        rung: shape (C,), what classes get; -1 for doing nothing.
        priced: the limit that may bind.
    """
    menu = problem.menu
    resource = problem.resource_of(priced)
    value, cost = menu.value, menu.cost[resource]
    allowed = np.ones(value.size, dtype=bool) if problem.allowed is None else problem.allowed.copy()
    for c, own in enumerate(rung.tolist()):
        if own < 0:
            continue
        part = slice(int(menu.start[menu.curve[c]]), int(menu.start[menu.curve[c] + 1]))
        gain, extra = value[part] - value[own], cost[part] - cost[own]
        left = (extra < 0) & (gain < 0) & allowed[part]
        if problem.idle[menu.curve[c]]:
            gain, extra = np.append(gain, -value[own]), np.append(extra, -cost[own])
            left = np.append(left, cost[own] > 0)
        slope = np.full(gain.size, np.inf)
        np.divide(gain, extra, out=slope, where=extra != 0)
        steepest = float(slope[left].min(initial=np.inf))
        kept = left | ((extra > 0) & (gain > 0) & (slope < steepest * (1 - 1e-9)))
        kept[own - part.start] = True
        allowed[part] &= kept[: part.stop - part.start]
    hull = upper_hull(value, cost, menu.start, allowed=allowed, nothing=problem.idle)
    position = np.zeros(rung.size, dtype=np.int64)
    for c, own in enumerate(rung.tolist()):
        low, high = int(hull.start[menu.curve[c]]), int(hull.start[menu.curve[c] + 1])
        position[c] = int(np.flatnonzero(hull.index[low:high] == own)[0])
    return replace(
        answer,
        hull=hull,
        allowed=allowed,
        solution=Solution(position, answer.solution.price),
        rung=rung,
        upper=None,
        evenly=False,
        menu=None,
        exact=False,
    )


def _worst(outcome: FloatArray, cap: float) -> FloatArray:
    """The weights of the draws under which an outcome is worst."""
    q = np.zeros(outcome.size)
    order = np.argsort(outcome, kind="stable")
    before = np.arange(outcome.size) * cap
    q[order] = np.clip(1 - before, 0.0, cap)
    return q


def _weights(met: FloatArray, cap: float) -> tuple[FloatArray, float]:
    """Weights under which the best of some outcomes is least, and that value.

    `min_q max_t met_t . q`: what mixing these allocations can reach, which is at least what the
    best of them does.
    """
    from scipy.optimize import linprog

    T, D = met.shape
    done = linprog(
        np.concatenate((np.zeros(D), [1.0])),
        A_ub=np.hstack((met, -np.ones((T, 1)))),
        b_ub=np.zeros(T),
        A_eq=np.concatenate((np.ones(D), [0.0]))[None],
        b_eq=[1.0],
        bounds=[*[(0.0, cap)] * D, (None, None)],
        method="highs",
    )
    q = np.clip(done.x[:D], 0.0, cap)
    return q / q.sum(), float(done.x[D])
