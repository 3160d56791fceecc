"""Why nothing keeps all the limits, and how little would have to give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scaling.allocators import exact, prices
from scaling.allocators.constrained import FEW, aside_of, fallbacks, linear
from scaling.allocators.limit import VALUE, Limit
from scaling.allocators.masks import count, curves_of, exact_text, masks
from scaling.allocators.problem import Problem
from scaling.allocators.repair import repair
from scaling.errors import InfeasibleError

if TYPE_CHECKING:
    from scaling.allocators.allocation import Fallback
    from scaling.allocators.linear import Linear
    from scaling.curves import FloatArray, Menu


def explain(problem: Problem) -> InfeasibleError:
    """The error for limits that contradict each other.

    The limits named are an irreducible set: without any one of them the rest could be kept. Beside
    each stands the smallest change of it alone that makes everything feasible, the other limits
    being as they are; a limit whose change alone does not help has none. Every amount named is one at
    which an allocation was found; in a problem of more than 400 choices it may be larger than the
    smallest by the gap of the repair.
    """
    limits = problem.limits
    if _is_feasible(problem, limits):
        return InfeasibleError(
            f"No choice of one action a class was found that keeps {_listed(limits)}, though mixing "
            "actions within classes would. Give one of them a little more room."
        )
    core = list(limits)
    for limit in limits:
        rest = [each for each in core if each is not limit]
        if not _is_feasible(problem, rest):
            core = rest
    relaxed = _all_relaxed(problem, core, limits)
    besides, kept = "", "beside the others, " if len(core) < len(limits) else ""
    if not relaxed:  # there is a second contradiction
        relaxed = _all_relaxed(problem, core, core)
        besides, kept = " The other limits contradict each other besides; mend this first.", ""
    ways = [
        f"{limit.words} would have to be {'at most' if limit.sense == 'min' else 'at least'} "
        f"{exact_text(relaxed[limit.words])}"
        for limit in core
        if limit.words in relaxed
    ]
    if len(core) == 1:
        said = f"No choice of actions keeps {_named(core[0])}"
    else:
        said = f"These limits contradict each other: {_listed(core)}"
    how = (
        f": {kept}{', or '.join(ways)}." if ways else "; changing one of them alone does not help."
    )
    first = next(iter(relaxed.values()), None)
    return InfeasibleError(f"{said}{how}{besides}", smallest=first, relaxed=relaxed)


def _all_relaxed(
    problem: Problem, core: Sequence[Limit], limits: Sequence[Limit]
) -> dict[str, float]:
    """What each limit of a contradiction would have to be, the other `limits` being as they are."""
    found = {limit.words: _relaxed(problem, limit, limits) for limit in core}
    return {words: amount for words, amount in found.items() if amount is not None}


def _is_feasible(problem: Problem, limits: Sequence[Limit]) -> bool:
    """Whether some of the limits can be kept: in a large problem, by mixtures of actions."""
    return _posed(problem, limits) is not None


def _posed(problem: Problem, limits: Sequence[Limit]) -> tuple[Problem, Fallback | None] | None:
    """The problem under some limits with a fallback that leaves it feasible; None where none does."""
    allowed, idle = masks(problem.menu, tuple(limits))
    if bool(((count(problem.menu, allowed) == 0) & ~idle)[problem.mass > 0].any()):
        return None
    some = replace(problem, limits=tuple(limits), allowed=allowed, idle=idle)
    for fallback in fallbacks(some):
        posed = linear(some, fallback)
        if prices.is_feasible(posed) and (exact.choices(posed) > FEW or _is_whole(posed)):
            return some, fallback
    return None


def _is_whole(posed: Linear) -> bool:
    """Whether some choice of one action a class keeps the rows."""
    try:
        exact.solve(replace(posed, gain=np.zeros_like(posed.gain)))
    except InfeasibleError:
        return False
    return True


def _relaxed(problem: Problem, limit: Limit, limits: Sequence[Limit]) -> float | None:
    """The amount nearest to a limit's at which all `limits` can be kept; None where none is."""
    others = [each for each in limits if each is not limit]
    if limit.scope == "each" or limit.percentile is not None:
        return _by_search(problem, limit, others)
    posed = _posed(problem, others)
    if posed is None:
        return None
    some, fallback = posed
    sign = 1.0 if limit.sense == "min" else -1.0
    amount = sign * limit.quantity(problem.menu)
    members = limit.members(problem.menu)
    if limit.where:
        amount = amount * np.repeat(curves_of(limit, problem.menu), np.diff(problem.menu.start))
    found = _best(some, fallback, amount)
    if found is None:
        return None
    weight = math.fsum(problem.menu.weight[members].tolist())
    reached = (sign * found + aside_of(problem, limit, members, fallback)) / weight
    return _rounded(limit, reached * (limit.queries or 1))


def _best(problem: Problem, fallback: Fallback | None, objective: FloatArray) -> float | None:
    """The largest weighted total of an objective over whole allocations, as far as one is found."""
    posed = linear(problem, fallback, objective=objective)
    dual = prices.solve(posed)
    if dual is None:
        return None
    if exact.choices(posed) <= FEW:
        try:
            return posed.worth(exact.solve(posed)[0])
        except InfeasibleError:
            return None
    rung = repair(posed, dual)
    return None if rung is None else posed.worth(rung)


def _by_search(problem: Problem, limit: Limit, others: Sequence[Limit]) -> float | None:
    """The relaxation of a limit that is a mask or a threshold, among the amounts that actions have."""
    menu: Menu = problem.menu
    each = menu.value if limit.resource == VALUE else menu.cost[limit.resource]
    amounts = np.unique(each)
    if limit.sense == "min":
        amounts = np.append(0.0, amounts[amounts < limit.amount])[::-1]
    else:
        amounts = amounts[amounts > limit.amount]

    def holds(place: int) -> bool:
        amount = max(float(amounts[place]), 0.0)
        return _is_feasible(problem, [*others, replace(limit, amount=amount)])

    if not amounts.size or not holds(amounts.size - 1):
        return None
    low, high = 0, amounts.size - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return max(float(amounts[low]), 0.0)


def _rounded(limit: Limit, amount: float) -> float:
    """Six digits, on the feasible side."""
    if amount <= 0 or not math.isfinite(amount):
        return max(amount, 0.0)
    digits = 5 - math.floor(math.log10(amount))
    scaled = amount * 10.0**digits
    near = round(scaled)
    if abs(scaled - near) > 1e-9 * abs(near):
        near = math.floor(scaled) if limit.sense == "min" else math.ceil(scaled)
    out = float(f"{near}e{-digits}")
    on_side = out <= amount if limit.sense == "min" else out >= amount
    return out if on_side else amount


def _named(limit: Limit) -> str:
    """A limit as it was given: `usd=0.01`, `value of level=hard>=0.8`."""
    if limit.sense == "min":
        return f"{limit.words}>={exact_text(limit.amount)}"
    return f"{limit.words}={exact_text(limit.amount)}"


def _listed(limits: Sequence[Limit]) -> str:
    return " and ".join(_named(limit) for limit in limits)
