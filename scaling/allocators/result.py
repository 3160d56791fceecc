"""From an answer to the allocation: ladder, certificate, fallback and cautions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.actions import nothing, own_costs_of
from scaling.allocators.allocation import Allocation, Fallback, Split, Target
from scaling.allocators.limit import Limit
from scaling.allocators.masks import count
from scaling.curves import ladder, upper_hull

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaling.allocators.problem import Answer, Problem
    from scaling.curves import BoolArray, FloatArray, Hull, IntArray, Menu

_ROUNDING = 1e-12  # of values and costs


def allocation(
    problem: Problem, answer: Answer, priced: Limit | None, *, split: bool, seed: int
) -> Allocation:
    """The answer with its ladder, certificate and cautions."""
    menu, solution = problem.menu, answer.solution
    resource = problem.target or problem.resource_of(priced)
    position = np.zeros(menu.curve.size, dtype=np.int64)
    position[problem.usable] = solution.position
    reduced, chosen = ladder(
        answer.menu or menu, answer.hull, position, resource, allowed=answer.allowed
    )
    parts: tuple[Split, ...] = ()
    if solution.divided is not None:
        i = int(problem.usable[solution.divided.index])
        lower = int(chosen[i])
        upper = lower + 1 if lower >= 0 else int(reduced.start[reduced.curve[i]])
        parts = (Split(i, lower, upper, solution.divided.share),)

    value = problem.worth(answer)
    bound = max(answer.bound, value)
    limits = tuple(
        replace(limit, realised=problem.realised(limit, answer), price=price)
        for limit, price in zip(problem.limits, _prices(problem, answer, priced), strict=True)
    )
    spent = {name: problem.use(name, answer) / problem.total for name in menu.cost}
    unspent = 0.0
    if priced is not None:
        unspent = max(priced.average - spent[resource], 0.0)
        if unspent <= 1e-12 * priced.average:
            unspent = 0.0
    off = _off_hull(problem, answer, resource)
    return Allocation(
        ladder=reduced,
        chosen=chosen,
        split=parts,
        limits=limits,
        priced_resource=resource,
        value=value,
        bound=bound,
        relative_gap=(bound - value) / bound if bound > 0 else 0.0,
        uniform_value=answer.uniform,
        n_menu=int(count(menu, problem.allowed)[problem.mass > 0].sum()),
        n_nonhull=off.size,
        nonhull=tuple(_distinct([menu.action_of(rung) for rung in off[:200].tolist()])[:20]),
        spent=spent,
        unspent=unspent,
        unspent_cause=_cause(unspent, answer, split=split),
        fallback=_with_own_cost(problem, _served(problem, answer, resource)),
        cautions=_cautions(problem, answer),
        seed=seed,
        target=_target(problem, answer, limits, spent),
        method="exact" if answer.exact else "price",
    )


def _prices(problem: Problem, answer: Answer, priced: Limit | None) -> tuple[float | None, ...]:
    """The shadow price of every limit."""
    if answer.prices is not None:
        return answer.prices
    return tuple(
        None if limit.scope == "each" else answer.solution.price if limit is priced else 0.0
        for limit in problem.limits
    )


def _target(
    problem: Problem, answer: Answer, limits: tuple[Limit, ...], spent: Mapping[str, float]
) -> Target | None:
    if problem.target is None or answer.cost_bound is None:
        return None
    cost = spent[problem.target]
    bound = min(answer.cost_bound, cost)
    return Target(
        limits[0].amount, problem.target, cost, bound,
        (cost - bound) / cost if cost > 0 else 0.0,
        answer.solution.price,
    )  # fmt: skip


def _served(problem: Problem, answer: Answer, resource: str) -> Fallback:
    """The fallback, no dearer than the dearest action that some class gets."""
    if answer.fallback is None or problem.unserved:
        return answer.fallback or nothing(problem.menu)
    dearest = problem.realised(Limit(resource, "each"), answer)
    if answer.fallback.cost[resource] <= dearest:
        return answer.fallback
    caps = {**problem.caps(), resource: dearest}
    return problem.actions.best(caps, resource, skip=problem.menu.skip) or nothing(problem.menu)


def _with_own_cost(problem: Problem, fallback: Fallback) -> Fallback:
    own: dict[int, Mapping[str, float]] = {}
    for group in problem.own:
        own |= dict.fromkeys(group.classes.tolist(), own_costs_of(group.known, fallback))
    return replace(fallback, own_cost=own)


def _off_hull(problem: Problem, answer: Answer, resource: str) -> IntArray:
    """Rungs on offer on curves in use that lie below the hull, by more than rounding.

    None is left out where there are several prices.
    """
    menu = problem.menu
    if answer.prices is not None:
        return np.zeros(0, dtype=np.int64)
    hull = answer.hull
    if answer.evenly:
        hull = upper_hull(
            menu.value, menu.cost[resource], menu.start,
            allowed=problem.allowed, nothing=problem.idle,
        )  # fmt: skip
    off = np.repeat(problem.mass > 0, np.diff(menu.start))
    if problem.allowed is not None:
        off &= problem.allowed
    off[hull.index[hull.index >= 0]] = False
    rung = np.flatnonzero(off)
    return rung[~_on_hull(menu, menu.cost[resource], hull, rung)]


def _on_hull(menu: Menu, cost: FloatArray, hull: Hull, rung: IntArray) -> BoolArray:
    """Which rungs that are no vertex lie on the hull up to rounding, between vertices or on one.

    Near its end a curve rises by less than its values are exact, and on a straight hull (known success rates,
    stopped at the first success) every rung is one that rounding may put below.
    """
    place = np.flatnonzero(hull.index >= 0)
    place = place[np.argsort(hull.index[place], kind="stable")]
    if not place.size or not rung.size:
        return np.zeros(rung.shape, dtype=np.bool_)
    vertex, owner = hull.index[place], np.searchsorted(menu.start, rung, side="right")
    after = np.searchsorted(vertex, rung)
    a, b = place[np.maximum(after - 1, 0)], place[np.minimum(after, place.size - 1)]
    follows = (after > 0) & (hull.index[a] >= menu.start[owner - 1])
    inside = follows & (b == a + 1) & (hull.index[b] > rung) & (hull.index[b] < menu.start[owner])
    value, spent = menu.value[rung], cost[rung]
    width = np.where(inside, hull.cost[b] - hull.cost[a], 1.0)
    share = np.clip((spent - hull.cost[a]) / width, 0.0, 1.0)
    chord = hull.value[a] + np.where(inside, share * (hull.value[b] - hull.value[a]), 0.0)
    most = np.where(inside, hull.cost[b], hull.cost[a])
    near = (value >= chord - _ROUNDING * np.abs(chord)) & (spent <= most * (1 + _ROUNDING))
    return np.asarray(follows & near)


def _cautions(problem: Problem, answer: Answer) -> tuple[Mapping[str, str], ...]:
    menu = problem.menu
    notes = list(menu.cautions.get(-1, ()))
    lost = menu.curve.size - problem.usable.size
    if lost:
        unknown = sum(group.classes.size for group in problem.own)
        notes.append(
            {
                "code": "fallback-served",
                "message": f"{lost} of {menu.curve.size} classes have no usable group and are "
                f"served the fallback; {_worth_of_unusable(lost, unknown)}.",
            }
        )
    if answer.fallback is None:
        notes.append(
            {
                "code": "no-fallback",
                "message": "No single action fits the average budget for all classes; the "
                "fallback does nothing.",
            }
        )
    if menu.extrapolated is not None:
        acting = answer.rung[answer.rung >= 0]
        beyond = int(menu.extrapolated[acting].sum())
        if beyond and not any(note["code"] == "extrapolated" for note in notes):
            notes.append(
                {
                    "code": "extrapolated",
                    "message": f"{beyond} of {menu.curve.size} classes get an action beyond "
                    "the data.",
                }
            )
    return tuple(notes)


def _worth_of_unusable(lost: int, unknown: int) -> str:
    """What the caution says of the value of unusable classes."""
    if not unknown:
        return "their value is taken to be that of the other classes"
    whose = "their" if unknown == lost else f"of {unknown} of them the"
    return (
        f"{whose} value is not known and counts as 0 in the value, the bound and the even spend"
        + ("" if unknown == lost else "; that of the rest is taken to be that of the other classes")
    )


def _cause(unspent: float, answer: Answer, *, split: bool) -> str | None:
    if not unspent:
        return None
    if answer.solution.price == 0 and answer.prices is not None:
        return "other limits bind first; more budget alone buys nothing"
    if answer.solution.price == 0:
        return "every class has its best action; more budget buys nothing"
    if answer.evenly:
        return "the even spend is better here than any mix of larger and smaller steps"
    if split:
        return "rounding"
    return "no further step fits into what is left; split (--split) divides one class and uses it"


def _distinct(actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({tuple(action.items()): action for action in actions}.values())
