"""Answers under several limits: rows, their prices, one action a class, and a ladder through it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scaling.allocators import exact, prices
from scaling.allocators.actions import nothing, own_costs_of
from scaling.allocators.limit import SLACK, Limit
from scaling.allocators.linear import Linear
from scaling.allocators.masks import curves_of, masks, taken
from scaling.allocators.price import Division, Solution
from scaling.allocators.problem import Answer, Problem
from scaling.allocators.repair import repair
from scaling.curves import distinct, ranges, upper_hull
from scaling.errors import InfeasibleError

if TYPE_CHECKING:
    from scaling.allocators.allocation import Fallback
    from scaling.allocators.prices import Dual
    from scaling.curves import BoolArray, FloatArray, IntArray, Menu

FEW = 400
"""Choices up to which the exact method is asked where the repair finds nothing."""


def answer(problem: Problem, *, method: str, split: bool) -> Answer | None:
    """The best allocation that is found within all limits, with its certificate.

    The value is that of the repaired mixture, or of the even spend where that is better; the bound
    is the Lagrange dual at the best prices. With `method="exact"` both are the solver's.

    Returns:
        None where no allocation was found that keeps the limits.

    Raises:
        UsageError: the problem is too large for the exact method.
    """
    for fallback in fallbacks(problem):
        posed = linear(problem, fallback)
        dual = prices.solve(posed)
        if dual is None:
            continue
        found = _solved(problem, posed, dual, fallback, method)
        if found is None:
            continue
        rung, bound, proved = found
        bound = dual.bound if split else bound  # a divided class may gain more than any whole one
        served = _with_prices(problem, posed, dual, bound, _plain(problem, rung, fallback))
        served = problem.or_even(
            replace(served, exact=proved), problem.resource_of(None), adopt=not proved
        )
        if served.evenly:
            return served
        served = _laddered(problem, served)
        return _divided(problem, served) if split else served
    return None


def _solved(
    problem: Problem, posed: Linear, dual: Dual, fallback: Fallback | None, method: str
) -> tuple[IntArray, float, bool] | None:
    """Rungs of the menu by usable class, the bound on the gain, and whether they are proved best."""
    tight = posed
    for _ in range(6):
        proved, bound = method == "exact", dual.bound
        rung = None
        if not proved:
            rung = repair(tight, dual)
            if rung is None and exact.choices(tight) <= FEW:
                proved = True
        if proved:
            try:
                rung, least = exact.solve(tight)
            except InfeasibleError:
                return None
            bound = min(bound, least)
        if rung is None:
            return None
        given = tight.in_given_order(tight.thrifty(rung))
        over = _over(problem, _plain(problem, given, fallback))
        if not (over > 0).any():
            return given, bound, proved
        tight = replace(tight, room=tight.room - 2 * over)  # sums of fractions were rounded
    return None


def _over(problem: Problem, answer: Answer) -> FloatArray:
    """By how much an answer breaks each row, as weighted totals."""
    out = []
    for limit in _rows(problem.limits):
        realised = problem.realised(limit, answer)
        if limit.is_kept(realised):
            out.append(0.0)
        else:
            weight = math.fsum(problem.menu.weight[limit.members(problem.menu)].tolist())
            over = abs(realised - limit.amount) / (limit.queries or 1)
            out.append(max(over, math.ulp(limit.amount)) * weight)
    return np.array(out)


# --- the problem as rows -----------------------------------------------------------------------


def _rows(limits: Sequence[Limit]) -> list[Limit]:
    return [limit for limit in limits if limit.scope != "each"]


def linear(
    problem: Problem,
    fallback: Fallback | None,
    limits: Sequence[Limit] | None = None,
    objective: FloatArray | None = None,
) -> Linear:
    """The problem in rows.

    Args:
        problem: the menu and its limits.
        fallback: what unusable classes get; what that uses is set aside.
        limits: which of the problem's limits hold; all where None.
        objective: shape (N,), what is maximised; value, or the cost of the target spared.
    """
    menu, usable = problem.menu, problem.usable
    limits = problem.limits if limits is None else limits
    allowed, idle = masks(menu, tuple(limits))
    if objective is None:
        objective = menu.value if problem.target is None else -menu.cost[problem.target]
    use, room = [], []
    for limit in _rows(limits):
        amount = limit.quantity(menu)
        if limit.where:
            amount = amount * np.repeat(curves_of(limit, menu), np.diff(menu.start))
        use.append(-amount if limit.sense == "min" else amount)
        room.append(_room(problem, limit, fallback))
    return Linear.of(
        objective, use, room, menu.start, menu.curve[usable], menu.weight[usable],
        key={name: column[usable] for name, column in menu.key.items()},
        allowed=allowed, nothing=idle,
    )  # fmt: skip


def _room(problem: Problem, limit: Limit, fallback: Fallback | None) -> float:
    """What a row leaves to the usable classes."""
    members = limit.members(problem.menu)
    weight = math.fsum(problem.menu.weight[members].tolist())
    aside = aside_of(problem, limit, members, fallback)
    if limit.is_budget:
        return problem.most(limit) - aside
    if limit.percentile is not None:
        return (1 - limit.percentile / 100 + SLACK / 2) * weight - aside
    slack = SLACK / 2 * max(limit.amount, 1e-3) * weight
    if limit.sense == "min":
        return slack - limit.amount * weight + aside
    return limit.average * weight + slack - aside


def aside_of(
    problem: Problem, limit: Limit, members: BoolArray, fallback: Fallback | None
) -> float:
    """Weighted total of a limit's quantity over the unusable classes among its members."""
    lost = members & (problem.menu.curve < 0)
    if fallback is None or not lost.any():
        return 0.0
    each = np.zeros(lost.size)
    each[lost] = limit.of_action(fallback.action, fallback.value, fallback.cost)
    for group in problem.own:
        own = own_costs_of(group.known, fallback)
        each[group.classes] = limit.of_action(fallback.action, 0.0, own)
    return math.fsum((problem.menu.weight[lost] * each[lost]).tolist())


def fallbacks(problem: Problem) -> Iterator[Fallback | None]:
    """Single actions that unusable classes might get, the best first; else the one for strangers."""
    resource = problem.resource_of(None)
    caps, skip = problem.caps(), problem.menu.skip
    if not problem.unserved:
        yield problem.actions.best(caps, resource, skip=skip)
        return
    cost, within = problem.unserved_cost()
    fits = within.copy()
    for name, cap in caps.items():
        fits &= cost[name] <= cap
    best = problem.actions.best(caps, resource, skip=skip, fits=fits)
    if best is not None:
        yield best
    for name in dict.fromkeys((resource, *caps)):
        yield problem.actions.cheapest(np.where(within, cost[name], math.inf))
    if skip:
        yield nothing(problem.menu)


# --- the answer --------------------------------------------------------------------------------


def _plain(problem: Problem, rung: IntArray, fallback: Fallback | None) -> Answer:
    """Rungs of the usable classes as an answer, before its ladder."""
    every = np.full(problem.menu.curve.size, -2, dtype=np.int64)
    every[problem.usable] = rung
    return Answer(
        upper_hull(np.zeros(0), np.zeros(0), np.zeros(1, dtype=np.int64)),
        problem.allowed, Solution(np.zeros_like(problem.usable), 0.0), every, None, fallback,
    )  # fmt: skip


def _with_prices(
    problem: Problem, posed: Linear, dual: Dual, bound: float, served: Answer
) -> Answer:
    """The answer with a price for every limit, and its bounds."""
    menu = problem.menu
    unserved = 0.0 if served.fallback is None else problem.pooled * served.fallback.value
    price = dual.prices
    cost_bound: float | None = None
    if problem.target is None:
        bound += unserved
    else:
        spent = problem.use(problem.target, served)
        cost = Limit(problem.target)
        aside = aside_of(problem, cost, np.ones(menu.curve.size, dtype=bool), served.fallback)
        cost_bound = max(-bound + aside, 0.0) / problem.total
        unit = float(price[0])  # cost of a unit of value
        if unit > 0:
            worth = dual.bound - unit * posed.room[0] + spent - aside
            bound = worth / unit + unserved
            price = price / unit
        else:
            bound = posed.bound(np.zeros_like(price), prices.most_of(posed, menu.value)) + unserved
    of_row = iter(price.tolist())
    stated: list[float | None] = []
    for limit in problem.limits:
        if limit.scope == "each":
            stated.append(None)
            continue
        each = next(of_row)
        if limit.resource not in menu.cost or limit.percentile is not None:
            weight = math.fsum(menu.weight[limit.members(menu)].tolist())
            each *= weight / problem.total
        stated.append(each)
    if problem.target is not None:
        stated[0] = float(dual.prices[0])
    resource = problem.resource_of(None)
    if problem.target is not None:
        main = 1 / float(dual.prices[0]) if dual.prices[0] > 0 else 0.0
    else:
        main = next(
            (p for limit, p in zip(problem.limits, stated, strict=True)
             if limit.is_budget and limit.resource == resource and p is not None), 0.0,
        )  # fmt: skip
    return replace(
        served,
        solution=replace(served.solution, price=main),
        bound=bound / problem.total,
        prices=tuple(stated),
        cost_bound=cost_bound,
    )


def _laddered(problem: Problem, served: Answer) -> Answer:
    """The answer with a concave ladder through every class's action."""
    menu = problem.menu
    rung = served.rung[problem.usable]
    width = menu.value.size + 1
    units, place = distinct(menu.curve[problem.usable] * width + rung + 1)
    curve = np.full(menu.curve.size, -1, dtype=np.int64)
    curve[problem.usable] = place
    curves, chosen = units // width, units % width - 1
    own = taken(replace(menu, curve=curve), curves, curve)
    shift = own.start[:-1] - menu.start[curves]
    at = np.where(chosen >= 0, chosen + shift, -1)
    allowed = served.allowed
    if allowed is not None:
        allowed = _kept(allowed, menu, curves)
    resource = problem.target or problem.resource_of(None)
    offered, idle = _through(own, at, resource, allowed, problem.idle[curves])
    hull = upper_hull(own.value, own.cost[resource], own.start, allowed=offered, nothing=idle)
    position = np.full(own.value.size, -1, dtype=np.int64)
    vertex = hull.index >= 0
    owner = np.repeat(np.arange(curves.size), np.diff(hull.start))
    position[hull.index[vertex]] = (np.arange(hull.index.size) - hull.start[owner])[vertex]
    of_unit = np.where(at >= 0, position[np.maximum(at, 0)], 0)
    return replace(
        served,
        hull=hull,
        allowed=offered,
        menu=own,
        solution=replace(served.solution, position=of_unit[place]),
    )


def _kept(allowed: BoolArray, menu: Menu, curves: IntArray) -> BoolArray:
    """The rungs on offer on some curves, back to back."""
    return allowed[ranges(menu.start[curves], menu.start[curves + 1])]


def _through(
    menu: Menu, at: IntArray, resource: str, allowed: BoolArray | None, idle: BoolArray
) -> tuple[BoolArray, BoolArray]:
    """Rungs that leave each curve's own rung on its concave hull.

    Below it: what costs and is worth less. Above it: what costs and is worth more, at no better a
    rate than that of the last step up to it.

    Args:
        menu: one curve a unit.
        at: shape (M,), each curve's own rung; -1 is doing nothing.
        resource: in which ladders are priced.
        allowed: shape (N,), rungs on offer.
        idle: shape (M,), whether doing nothing is on offer.
    """
    length = np.diff(menu.start)
    cost, value = menu.cost[resource], menu.value
    acts = at >= 0
    own_cost = np.where(acts, cost[np.maximum(at, 0)], 0.0)
    own_value = np.where(acts, value[np.maximum(at, 0)], 0.0)
    c, v = np.repeat(own_cost, length), np.repeat(own_value, length)
    ok = np.ones(cost.size, dtype=bool) if allowed is None else allowed
    below = ok & (cost < c) & (value < v)
    rate = np.full(cost.size, np.inf)
    np.divide(v - value, c - cost, out=rate, where=below)
    least = np.full(length.size, np.inf)
    full = np.flatnonzero(length > 0)
    if full.size:
        least[full] = np.minimum.reduceat(rate, menu.start[full])
    from_nothing = idle & acts & (own_cost > 0) & (own_value > 0)
    with np.errstate(over="ignore"):
        least[from_nothing] = np.minimum(
            least[from_nothing], own_value[from_nothing] / own_cost[from_nothing]
        )
    above = ok & (cost > c) & (value > v)
    rise = np.zeros(cost.size)
    with np.errstate(over="ignore"):
        np.divide(value - v, cost - c, out=rise, where=above)
    offered = below | (above & (rise <= np.repeat(least, length)))
    offered[at[acts]] = True
    return offered, idle & (~acts | ((own_cost > 0) & (own_value > 0)))


def _divided(problem: Problem, served: Answer) -> Answer:
    """One class divided between its action and the next rung, so that more is gained."""
    hull, position = served.hull, served.solution.position
    own = served.menu
    if own is None or problem.target is not None:
        return served
    unit = own.curve[problem.usable]
    here = hull.start[unit] + position
    can = np.flatnonzero(here + 1 < hull.start[unit + 1])
    if not can.size:
        return served
    lower, upper = hull.index[here[can]], hull.index[here[can] + 1]
    weight = problem.menu.weight[problem.usable[can]]
    share = np.ones(can.size)
    for limit in _rows(problem.limits):
        share = np.minimum(share, _most_of(problem, limit, served, own, lower, upper, can))
    rise = own.value[upper] - np.where(lower >= 0, own.value[np.maximum(lower, 0)], 0.0)
    gain = weight * share * rise
    best = int(gain.argmax())
    part = float(share[best])
    for shrink in (1.0, 1 - 1e-15, 1 - 1e-12, 1 - 1e-9):
        if not 0 < part * shrink < 1 or gain[best] <= 0:
            break
        index = int(can[best])
        division = Division(index, part * shrink)
        curve = problem.menu.curve[problem.usable[index]]
        back = int(problem.menu.start[curve] - own.start[unit[index]])
        trial = replace(
            served,
            solution=replace(served.solution, divided=division),
            upper=int(upper[best]) + back,
        )
        if problem.keeps(trial):
            return trial
    return served


def _most_of(
    problem: Problem,
    limit: Limit,
    served: Answer,
    own: Menu,
    lower: IntArray,
    upper: IntArray,
    can: IntArray,
) -> FloatArray:
    """The share of each class that may go up a rung within one limit."""
    amount = limit.quantity(own)
    step = amount[upper] - np.where(lower >= 0, amount[np.maximum(lower, 0)], 0.0)
    classes = problem.usable[can]
    members = limit.members(problem.menu)
    step = step * members[classes] * problem.menu.weight[classes]
    total = math.fsum(problem.menu.weight[members].tolist())
    if limit.percentile is not None:
        over = Limit(limit.resource, limit.scope, limit.amount)
        f = served.fallback
        each = np.where(served.rung >= 0, limit.quantity(problem.menu)[served.rung], 0.0)
        lost = served.rung == -2
        each[lost] = 0.0 if f is None else over.of_action(f.action, f.value, f.cost)
        used = float((problem.menu.weight * each)[members].sum())
        left = (1 - limit.percentile / 100) * total - used
    elif limit.is_budget:
        left = problem.most(limit) - problem.use(limit.resource, served)
    else:
        left = (limit.amount - problem.realised(limit, served)) * total
    if limit.sense == "min":
        step, left = -step, -left
    out = np.ones(can.size)
    tight = step > 0
    out[tight] = np.clip(max(left, 0.0) / step[tight], 0.0, 1.0)
    return out
