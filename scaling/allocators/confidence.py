"""Limits that hold with a probability, where costs are known with an error only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.price import dual_bound
from scaling.allocators.risk import own_curves, within_each
from scaling.curves import Menu
from scaling.errors import InfeasibleError, UsageError

if TYPE_CHECKING:
    from scaling.allocators.allocation import Allocation
    from scaling.allocators.limit import Limit
    from scaling.curves import CostErrors

_ROUNDS = 12


def errors_of(sources: Iterable[Any], costs: Any, *, until_success: bool) -> list[CostErrors]:
    """What the sources know of the errors of their costs; those of menus are taken as exact.

    Raises:
        UsageError: no source knows any, or costs also hang on success rates.
    """
    if until_success:
        raise UsageError(
            "With --until-success or --until-accepted what an action uses hangs on the success rates too, whose error "
            "the confidence in the cost does not count. Leave out one of the two."
        )
    found = [one.cost_errors(costs) for one in sources if hasattr(one, "cost_errors")]
    if not found:
        raise UsageError(
            "The confidence in the cost needs standard errors of the costs, which a menu does not "
            "have. Allocate from a fit, or leave out --cost-confidence."
        )
    return found


@dataclass(frozen=True)
class Spread:
    """How far the mean use per query may be from what is expected of it.

    Attributes:
        groups: source and group to the standard error that the group contributes.
        queries: variance that the queries themselves contribute.
    """

    groups: Mapping[tuple[int, int], float]
    queries: float

    @property
    def sd(self) -> float:
        """The standard deviation of the mean use per query."""
        return math.sqrt(math.fsum(s * s for s in self.groups.values()) + self.queries)


def spread(allocation: Allocation, limit: Limit, errors: Sequence[CostErrors]) -> Spread:
    """What is not known of the mean use per query that a limit is about.

    With shares of traffic w, rungs x and, for the group g of a rung, the standard error s(x) of its
    mean use and the spread d(x) of a query's use about it, the variance is
    `sum_g (sum_{i in g} w_i s(x_i))^2`, since all rungs of a group rest on one measured mean and
    groups are independent; and, of the queries themselves, `sum_i w_i d(x_i)^2 / Q` for a total
    over Q queries, nothing for a long-run average, and `sum_i (w_i d(x_i))^2` where classes are
    single problems, whose own means stay what they are.
    """
    ladder = allocation.ladder
    share = ladder.weight / math.fsum(ladder.weight.tolist())
    classes = np.arange(share.size)
    divided = {part.class_index: part for part in allocation.split}
    rungs, parts = [], []
    for c, rung in enumerate(allocation.chosen.tolist()):
        got = [(rung, 1.0)]
        if c in divided:
            part = divided[c]
            got = [(part.lower, 1 - part.share), (part.upper, part.share)]
        rungs.append(np.array([r for r, _ in got if r >= 0], dtype=np.int64))
        parts += [share[c] * each for r, each in got if r >= 0]
    mine, w = own_curves(ladder, classes, rungs), np.array(parts)
    owner = np.repeat(classes, np.diff(mine.start))
    groups: dict[tuple[int, int], float] = {}
    queries = 0.0
    for number, source in enumerate(errors):
        group, se, sd = source.of(mine, limit.resource)
        for g in np.unique(group[group >= 0]).tolist():
            groups[number, g] = math.fsum((w * se)[group == g].tolist())
        if ladder.estimand == "benchmark":
            queries += float((np.bincount(owner, w * sd, classes.size) ** 2).sum())
        elif limit.queries is not None:
            queries += float((w * sd**2).sum()) / limit.queries
    return Spread(groups, queries)


def tighter_bound(
    allocation: Allocation, menu: Menu, limit: Limit, errors: Sequence[CostErrors], z: float
) -> float:
    """Bound on the value of any allocation that keeps a limit with its margin.

    The standard deviation is a norm of the groups' contributions S, so that it is at least `u . S`
    for any u of norm 1: with `u = S(x) / |S(x)|` at the allocation x, rungs that cost
    `c + z u_g s` within the whole limit are a relaxation. Its Lagrange dual bounds the value, at any
    price.
    """
    found = spread(allocation, limit, errors)
    price = allocation.price or 0.0
    if found.sd == 0 or price == 0 or bool((menu.curve < 0).any()):
        return math.inf
    cost = np.array(menu.cost[limit.resource])
    for number, source in enumerate(errors):
        group, se, _ = source.of(menu, limit.resource)
        for g in np.unique(group[group >= 0]).tolist():
            cost[group == g] += z * found.groups.get((number, g), 0.0) / found.sd * se[group == g]
    total = math.fsum(menu.weight.tolist())
    mass = np.bincount(menu.curve, menu.weight, menu.start.size - 1).astype(np.float64)
    allowed = within_each(menu, allocation.limits)
    bounds = [
        dual_bound(
            price * scale, limit.average * total, value=menu.value, cost=cost, start=menu.start,
            mass=mass, allowed=allowed, nothing=menu.skip,
        )
        for scale in np.geomspace(0.5, 2.0, 41)
    ]  # fmt: skip
    return min(bounds) / total


@dataclass(frozen=True)
class _Kept:
    """An allocation that keeps its limits with their margins."""

    allocation: Allocation
    margins: tuple[float, ...]


def solve(
    menu: Menu,
    asked: tuple[Limit, ...],
    errors: Sequence[CostErrors],
    confidence: float,
    solved: Callable[[tuple[Limit, ...]], Allocation],
) -> Allocation:
    """The allocation that keeps each average and total limit with this probability.

    By the central limit theorem: mean use plus `z` standard deviations is at most the limit, with z
    the normal quantile of the confidence. The margin depends on the allocation and the allocation
    on what the margin leaves, so that the two are found in turn; of the allocations that keep the
    limits the most valuable one is taken. No allocation that keeps them is worth more than the
    bound: that of the limits without margins, or a tighter one that counts them (`tighter_bound`).

    Args:
        menu: what is on offer.
        asked: the limits.
        errors: of the costs.
        confidence: of each limit by itself, from 0.5.
        solved: the allocation within limits, on average.

    Raises:
        InfeasibleError: not even the cheapest actions leave room for the margin.
    """
    from scipy.special import ndtri

    z = float(ndtri(confidence))

    def margins(allocation: Allocation) -> tuple[float, ...]:
        return tuple(
            0.0
            if not limit.is_budget
            else z * spread(allocation, limit, errors).sd * (limit.queries or 1)
            for limit in asked
        )  # fmt: skip

    loose = solved(asked)
    kept: list[_Kept] = []
    left = margins(loose)
    seen: set[tuple[float, ...]] = set()
    for _ in range(_ROUNDS):
        amounts = tuple(limit.amount - m for limit, m in zip(asked, left, strict=True))
        if amounts in seen:
            break
        seen.add(amounts)
        try:
            allocation = solved(_reduced(asked, amounts))
        except InfeasibleError as error:
            if kept:
                break
            kept.append(_cheapest(error, asked, margins, solved))
            left = kept[0].margins
            continue
        now = margins(allocation)
        used = [limit.realised or 0.0 for limit in allocation.limits]
        if all(
            u + m <= limit.amount * (1 + 1e-12)
            for u, m, limit in zip(used, now, asked, strict=True)
            if limit.is_budget
        ):
            kept.append(_Kept(allocation, now))
            left = now
        else:
            left = tuple(max(a, b) for a, b in zip(left, now, strict=True))
    if not kept:
        raise InfeasibleError(
            "No allocation was found that keeps the limits with this confidence. Raise the budget, "
            "or lower the confidence (--cost-confidence)."
        )
    best = max(kept, key=lambda each: each.allocation.value)
    bounds = [
        tighter_bound(best.allocation, menu, limit, errors, z)
        for limit in asked
        if limit.is_budget and limit.resource == best.allocation.priced_resource
    ]
    return _with_margins(best, min([loose.bound, *bounds]), asked, confidence)


def _reduced(asked: tuple[Limit, ...], amounts: tuple[float, ...]) -> tuple[Limit, ...]:
    """The limits with these amounts.

    Raises:
        InfeasibleError: an amount below zero.
    """
    for limit, amount in zip(asked, amounts, strict=True):
        if amount < 0:
            raise InfeasibleError(f"Nothing is left of the budget of {limit.resource}.")
    return tuple(
        replace(limit, amount=amount) for limit, amount in zip(asked, amounts, strict=True)
    )


def _cheapest(
    error: InfeasibleError,
    asked: tuple[Limit, ...],
    margins: Callable[[Allocation], tuple[float, ...]],
    solved: Callable[[tuple[Limit, ...]], Allocation],
) -> _Kept:
    """The cheapest allocation, where it leaves room for its margin.

    Raises:
        InfeasibleError: it does not; the smallest budget that does is named.
    """
    averages = [(i, limit) for i, limit in enumerate(asked) if limit.is_budget]
    if len(averages) != 1:
        raise InfeasibleError(f"{error} The margin of the confidence is part of that.") from error
    at, limit = averages[0]
    queries = limit.queries or 1

    def budget(amount: float) -> tuple[Limit, ...]:
        return tuple(replace(x, amount=amount) if i == at else x for i, x in enumerate(asked))

    least = 0.0
    try:
        cheapest = solved(budget(0.0))
    except InfeasibleError as found:
        least = (found.smallest or 0.0) * queries
        cheapest = solved(budget(least * (1 + 1e-12)))
    margin = margins(cheapest)[at]
    if least * (1 + 1e-12) + margin <= limit.amount:
        return _Kept(cheapest, margins(cheapest))
    smallest = (least + margin) * (1 + 1e-9)
    raise InfeasibleError(
        f"The budget of {limit.amount:.12g} {limit.resource} is too small for its confidence: the "
        f"cheapest action of every class uses {least:.9g}, and {margin:.4g} must be kept free. Give "
        f"at least {smallest:.12g}, or lower the confidence (--cost-confidence).",
        smallest=smallest / queries,
    ) from error


def _with_margins(
    kept: _Kept, bound: float, asked: tuple[Limit, ...], confidence: float
) -> Allocation:
    """The allocation in the terms of the limits that were asked for."""
    allocation = kept.allocation
    limits = tuple(
        found
        if not found.is_budget
        else replace(found, amount=limit.amount, confidence=confidence, margin=margin)
        for found, limit, margin in zip(allocation.limits, asked, kept.margins, strict=True)
    )
    bound = max(bound, allocation.value)
    unspent, cause = allocation.unspent, allocation.unspent_cause
    priced = [x for x in limits if x.resource == allocation.priced_resource and x.is_budget]
    if priced:
        free = priced[0].average - allocation.spent[allocation.priced_resource]
        if priced[0].margin > 0 and free > 0:
            unspent = free
            margin = priced[0].margin / (priced[0].queries or 1)
            cause = f"{margin:.4g} a query is kept free, so that the limit holds with probability {confidence:g}"
            cause += (
                f"; of the rest, {allocation.unspent_cause}" if allocation.unspent_cause else ""
            )
    return replace(
        allocation,
        limits=limits,
        bound=bound,
        relative_gap=(bound - allocation.value) / bound if bound > 0 else 0.0,
        unspent=unspent,
        unspent_cause=cause,
    )
