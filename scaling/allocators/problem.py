"""The problem that a menu and its limits pose, and its answer for one binding budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scaling.allocators.actions import Actions, nothing, own_costs_of
from scaling.allocators.allocation import Fallback
from scaling.allocators.limit import VALUE, Limit, percentile_of
from scaling.allocators.masks import apart, count, exact_text, masks, refuse_empty_classes
from scaling.allocators.price import Solution, dual_bound, solve
from scaling.curves import (
    BoolArray,
    FloatArray,
    Hull,
    IntArray,
    Menu,
    upper_hull,
)
from scaling.errors import InfeasibleError, NotUsableError

if TYPE_CHECKING:
    from scaling.curves import OwnCost


_TILT = 1e-9  # of value over the range of the costs


@dataclass(frozen=True)
class Answer:
    """Actions for all classes, before the ladder is written.

    Attributes:
        hull: of the rungs in `allowed`.
        allowed: shape (N,), rungs that the answer was chosen from; all where None.
        solution: vertices of the usable classes.
        rung: shape (C,), rungs of the full menu; -1 for doing nothing, -2 for the fallback.
        upper: rung that the divided class's share gets.
        fallback: the best single action, None where the budget affords none.
        bound: upper bound on the value.
        uniform: value of the even spend, None where it is not feasible.
        evenly: whether this is the even spend.
        menu: whose hull it is, where that is not the problem's own menu.
        prices: shadow price of every limit; those of the solution where None.
        cost_bound: of a target, the least cost that any allocation may have, per query.
        exact: whether nothing better exists, up to the rounding of the solver.
    """

    hull: Hull
    allowed: BoolArray | None
    solution: Solution
    rung: IntArray
    upper: int | None
    fallback: Fallback | None = None
    bound: float = math.inf
    uniform: float | None = None
    evenly: bool = False
    menu: Menu | None = None
    prices: tuple[float | None, ...] | None = None
    cost_bound: float | None = None
    exact: bool = False


@dataclass(frozen=True)
class Own:
    """Unusable classes that share what is known of their own costs."""

    classes: IntArray
    weight: float
    known: OwnCost


@dataclass(frozen=True)
class Problem:
    """A menu with its masks, and what follows from them for every budget.

    `target` is the resource of which the least is to be spent, where the first limit is what the
    answers must be worth; None where value is maximised.
    """

    menu: Menu
    limits: tuple[Limit, ...]
    allowed: BoolArray | None
    idle: BoolArray  # (M,), curves on which doing nothing is on offer
    usable: IntArray
    total: float  # weight of all classes
    unserved: float  # weight of the unusable ones
    mass: FloatArray  # (M,), weight on each curve
    actions: Actions
    own: tuple[Own, ...]
    pooled: float  # weight of the unusable classes of which no cost is known
    target: str | None = None

    @classmethod
    def of(cls, menu: Menu, limits: tuple[Limit, ...], target: str | None = None) -> Problem:
        """The problem of a whole menu.

        Raises:
            NotUsableError: no class is usable.
            InfeasibleError: the limits on each query leave a class nothing.
            UsageError: a limit names a class or an action that the menu does not have.
        """
        menu = apart(menu, limits)
        usable = np.flatnonzero(menu.curve >= 0)
        if not usable.size:
            raise NotUsableError(
                "No class can be served: none of the fitted groups is usable. "
                "See the cautions of the fit; more attempts or fewer groups may help."
            )
        allowed, idle = masks(menu, limits)
        weight = menu.weight
        mass = _mass(menu.curve[usable], weight[usable], menu.start.size - 1)
        refuse_empty_classes(menu, limits, usable, allowed, idle)
        own = _own(menu)
        pooled = menu.curve < 0
        for group in own:
            pooled[group.classes] = False
        problem = cls(
            menu,
            limits,
            allowed,
            idle,
            usable,
            total=math.fsum(weight.tolist()),
            unserved=math.fsum(weight[menu.curve < 0].tolist()),
            mass=mass,
            actions=Actions.of(menu, mass, allowed),
            own=own,
            pooled=math.fsum(weight[pooled].tolist()),
            target=target,
        )
        if own and not menu.skip:
            problem._refuse_dear_classes()
        return problem

    def most(self, limit: Limit) -> float:
        """The largest weighted total that keeps the limit, as it is reported, to the last bit."""
        most = limit.average * self.total
        if most == 0:
            return 0.0
        while self._report(limit, math.nextafter(most, math.inf)) <= limit.amount:
            most = math.nextafter(most, math.inf)
        while self._report(limit, most) > limit.amount:
            most = math.nextafter(most, -math.inf)
        return most

    def _report(self, limit: Limit, total: float) -> float:
        """A weighted total in the terms of the limit."""
        if limit.queries is None:
            return total / self.total
        if limit.queries == self.total:
            return total
        return total * limit.queries / self.total

    def use(self, resource: str, answer: Answer) -> float:
        """Weighted total use of a resource, correctly rounded."""
        column = self.menu.cost[resource]
        own = self._of_own(answer, lambda cost: cost[resource])
        f = answer.fallback
        each = self._each(answer, column, 0.0 if f is None else f.cost[resource], own)
        return _total(self.menu.weight, each)

    def worth(self, answer: Answer) -> float:
        """Weighted mean value per query; what is not known counts as 0."""
        f = answer.fallback
        own = self._of_own(answer, lambda _: 0.0)
        each = self._each(answer, self.menu.value, 0.0 if f is None else f.value, own)
        return _total(self.menu.weight, each) / self.total

    def _of_own(
        self, answer: Answer, quantity: Callable[[Mapping[str, float]], float]
    ) -> list[float]:
        """A quantity of the fallback, where unusable classes know their own costs."""
        f = answer.fallback
        return [] if f is None else [quantity(own_costs_of(g.known, f)) for g in self.own]

    def _each(
        self, answer: Answer, column: FloatArray, fallback: float, own: list[float]
    ) -> FloatArray:
        """A quantity per class, given its rung column and what it is of the fallback."""
        each = _at(column, answer.rung)
        each[answer.rung == -2] = fallback
        for group, amount in zip(self.own, own, strict=False):
            each[group.classes] = amount
        divided = answer.solution.divided
        if divided is not None and answer.upper is not None:
            i = int(self.usable[divided.index])
            each[i] += divided.share * (column[answer.upper] - each[i])
        return each

    def realised(self, limit: Limit, answer: Answer) -> float:
        """What the answer comes to, in the terms of the limit."""
        if limit.is_budget:
            return self._report(limit, self.use(limit.resource, answer))
        whole = replace(answer, solution=replace(answer.solution, divided=None))
        measured = limit if limit.percentile is None else Limit(limit.resource)
        column = measured.quantity(self.menu)
        f = answer.fallback
        own = self._of_own(
            answer, lambda cost: 0.0 if f is None or limit.resource == VALUE
            else measured.of_action(f.action, 0.0, cost)
        )  # fmt: skip
        served = 0.0 if f is None else measured.of_action(f.action, f.value, f.cost)
        each = self._each(whole, column, served, own)
        weight, members = self.menu.weight, limit.members(self.menu)
        divided = answer.solution.divided
        if divided is not None and answer.upper is not None:  # a class of its own for the share
            i = int(self.usable[divided.index])
            weight = np.append(weight, weight[i] * divided.share)
            weight[i] *= 1 - divided.share
            each = np.append(each, column[answer.upper])
            members = np.append(members, members[i])
        if limit.scope == "each":
            if limit.resource == VALUE:  # what is not known keeps no limit and breaks none
                members[np.flatnonzero(answer.rung == -2)] = False
            found = each[members]
            if not found.size:
                return limit.amount
            return float(found.max() if limit.sense == "max" else found.min())
        if limit.percentile is not None:
            return percentile_of(weight[members], each[members], limit.percentile)
        mean = _total(weight[members], each[members]) / math.fsum(weight[members].tolist())
        return mean if limit.queries is None else mean * limit.queries

    def keeps(self, answer: Answer) -> bool:
        """Whether an answer keeps every limit."""
        return all(limit.is_kept(self.realised(limit, answer)) for limit in self.limits)

    def answer(self, priced: Limit | None, *, split: bool, evenly: bool = False) -> Answer:
        """The best allocation where `priced` is the one limit that may bind.

        With `evenly` the even spend instead: of actions of one value the dearest that the average affords.
        """
        menu = self.menu
        resource = self.resource_of(priced)
        cost = menu.cost[resource]
        hull = upper_hull(menu.value, cost, menu.start, allowed=self.allowed, nothing=self.idle)
        used = np.flatnonzero(self.mass > 0)
        floor = math.fsum((self.mass[used] * hull.cost[hull.start[used]]).tolist())
        budget = math.inf if priced is None else self.most(priced)
        cheapest = self._answer(hull, Solution(np.zeros_like(self.usable), 0.0))
        fallback = self._fallback(resource, budget, cheapest)
        needed = self.use(resource, replace(cheapest, fallback=fallback))
        if priced is not None and needed > budget:
            self._refuse_too_small(priced, needed)

        aside = 0.0 if fallback is None else self._aside(fallback, resource)
        curve, weight = menu.curve[self.usable], menu.weight[self.usable]
        key = {name: column[self.usable] for name, column in menu.key.items()}
        room = budget - aside
        while True:
            solution = solve(hull, curve, weight, max(room, floor), key=key, split=split)
            answer = replace(self._answer(hull, solution), fallback=fallback)
            over = self.use(resource, answer) - budget
            if over > 0 and room <= floor and solution.divided is not None:
                answer = replace(
                    self._answer(hull, replace(solution, divided=None)), fallback=fallback
                )
            if over <= 0 or room <= floor:
                break
            room = math.nextafter(room - over, -math.inf)  # sums of fractions were rounded
        bound = dual_bound(
            solution.price, budget - aside, value=menu.value, cost=cost, start=menu.start,
            mass=self.mass, allowed=self.allowed, nothing=self.idle,
        )  # fmt: skip
        if fallback is not None:
            bound += self.pooled * fallback.value
        answer = replace(answer, bound=bound / self.total)
        return self.or_even(answer, resource, asked=evenly)

    def resource_of(self, priced: Limit | None) -> str:
        """The resource in which ladders are priced."""
        named = [priced] if priced is not None else self.limits
        known = (limit.resource for limit in named if limit.resource in self.menu.cost)
        return next(known, next(iter(self.menu.cost)))

    def _answer(self, hull: Hull, solution: Solution) -> Answer:
        """A solution in the menu's own rungs."""
        rung = np.full(self.menu.curve.size, -2, dtype=np.int64)
        begin = hull.start[self.menu.curve[self.usable]]
        rung[self.usable] = hull.index[begin + solution.position]
        upper: int | None = None
        if solution.divided is not None:
            i = solution.divided.index
            upper = int(hull.index[begin[i] + solution.position[i] + 1])
        return Answer(hull, self.allowed, solution, rung, upper)

    def or_even(
        self, answer: Answer, resource: str, *, adopt: bool = True, asked: bool = False
    ) -> Answer:
        """The even spend instead where it is better; or where it is asked for; in any case its value beside the answer.

        Of a target, the even spend is of what the answer spends.
        """
        menu = self.menu
        allowed = np.ones(menu.value.size, dtype=bool) if self.allowed is None else self.allowed
        caps = self.budgets()
        if self.target is not None:
            resource = self.target
            caps[resource] = self.use(resource, answer) / self.total
        for name, cap in caps.items():
            allowed = allowed & (menu.cost[name] <= cap)
        used = self.mass > 0
        if bool(((count(menu, allowed) == 0) & ~self.idle)[used].any()):
            if asked:
                raise InfeasibleError(
                    "The even spend is not possible: some class has no action within the average "
                    "budget. Raise the budget, or allow doing nothing (--allow-skip)."
                )
            return answer
        value, cost = menu.value, menu.cost[resource]
        if asked:  # an action that is worth no more still belongs to an even spend
            value = value + _TILT * cost / max(float(cost.max()), 1e-300)
        hull = upper_hull(value, cost, menu.start, allowed=allowed, nothing=self.idle)
        # the last vertex is the most valuable one; its cost is within the average budget
        last = np.diff(hull.start)[menu.curve[self.usable]] - 1
        solution = Solution(last, answer.solution.price)
        even = replace(
            self._answer(hull, solution), allowed=allowed, fallback=answer.fallback,
            bound=answer.bound, prices=answer.prices, evenly=True,
        )  # fmt: skip
        uniform = self.worth(even)
        better = asked or (adopt and self.target is None and uniform > self.worth(answer))
        return replace(even if better and self.keeps(even) else answer, uniform=uniform)

    # the fallback, and budgets that are too small

    def _fallback(self, resource: str, budget: float, cheapest: Answer) -> Fallback | None:
        """The best single action that the budget affords; None where none does.

        Where classes are served it, it also leaves the others their cheapest actions; if need be it
        is doing nothing where that is on offer, or else the cheapest action, affordable or not.
        """
        caps = self.caps()
        if not self.unserved:
            return self.actions.best(caps, resource, skip=self.menu.skip)
        spare = max(budget - self.use(resource, cheapest), 0.0) / self.unserved
        cost, within = self.unserved_cost()
        fits = within.copy()
        for name, cap in {**caps, resource: min(caps.get(resource, math.inf), spare)}.items():
            fits &= cost[name] <= cap * (1 + 1e-12)
        best = self.actions.best(caps, resource, skip=self.menu.skip, fits=fits)
        if best is not None and self.use(resource, replace(cheapest, fallback=best)) <= budget:
            return best
        if self.menu.skip:
            return nothing(self.menu)
        return self.actions.cheapest(np.where(within, cost[resource], math.inf))

    def _aside(self, fallback: Fallback, resource: str) -> float:
        """Weighted total use of the unusable classes."""
        return math.fsum(
            [
                self.pooled * fallback.cost[resource],
                *(g.weight * own_costs_of(g.known, fallback)[resource] for g in self.own),
            ]
        )

    def unserved_cost(self) -> tuple[Mapping[str, FloatArray], BoolArray]:
        """Mean cost of each action for the unusable classes, and whether it keeps their limits."""
        within = np.ones(self.actions.value.size, dtype=bool)
        if not self.own:
            return self.actions.cost, within
        total = {name: self.pooled * column for name, column in self.actions.cost.items()}
        for group in self.own:
            own = self.actions.own(group.known)
            for name, column in own.items():
                total[name] += group.weight * column
            within &= self._keeps_limits(own)
        return {name: column / self.unserved for name, column in total.items()}, within

    def _keeps_limits(self, cost: Mapping[str, FloatArray]) -> BoolArray:
        """Whether these costs keep the limits on each query."""
        within = np.ones(next(iter(cost.values())).size, dtype=bool)
        for limit in self.limits:
            if limit.scope == "each" and limit.resource in cost and limit.sense == "max":
                within &= cost[limit.resource] <= limit.amount
        return within

    def _refuse_dear_classes(self) -> None:
        """Raise where no action keeps the limits on each query of all the unusable classes."""
        if self.unserved_cost()[1].any():
            return
        everything = Actions.of(self.menu, self.mass, None)
        for limit in self.limits:
            if limit.scope != "each" or limit.resource not in self.menu.cost:
                continue
            costs = [everything.own(group.known)[limit.resource] for group in self.own]
            dearest = np.max(costs, axis=0)
            smallest = float(np.maximum(dearest, everything.cost[limit.resource]).min())
            if smallest > limit.amount:
                at = int(np.argmax([each.min() for each in costs]))
                name = self.menu.class_name(int(self.own[at].classes[0]))
                raise InfeasibleError(
                    f"Class {name} has no usable group, and no action that it could be served "
                    f"instead uses at most {exact_text(limit.amount)} {limit.resource}. The smallest "
                    f"feasible limit on each query is {exact_text(smallest)}; or allow doing nothing "
                    "(--allow-skip).",
                    smallest=smallest,
                )
        name = self.menu.class_name(int(self.own[0].classes[0]))
        raise InfeasibleError(
            f"Class {name} has no usable group, and no single action keeps all the limits on each "
            "query of such classes. Raise one of them, or allow doing nothing (--allow-skip)."
        )

    def budgets(self) -> dict[str, float]:
        """Resource to the average budget per query."""
        return _smallest(limit for limit in self.limits if limit.is_budget)

    def caps(self) -> dict[str, float]:
        """Resource to the most that one action for every query may use."""
        return _smallest(
            limit for limit in self.limits if limit.is_budget or limit.percentile is not None
        )

    def _refuse_too_small(self, limit: Limit, needed: float) -> None:
        """Raise, naming the smallest budget that is feasible."""
        per = "per query" if limit.queries is None else f"for {limit.queries} queries"
        raise InfeasibleError(
            f"The budget of {exact_text(limit.amount)} {limit.resource} {per} is too small: the "
            f"cheapest action of every class uses {exact_text(self._report(limit, needed))}. Give at "
            "least that, or allow doing nothing (--allow-skip).",
            smallest=needed / self.total,
            relaxed={limit.words: self._report(limit, needed)},
        )


def _smallest(limits: Iterable[Limit]) -> dict[str, float]:
    out: dict[str, float] = {}
    for limit in limits:
        out[limit.resource] = min(limit.average, out.get(limit.resource, math.inf))
    return out


def _own(menu: Menu) -> tuple[Own, ...]:
    """The unusable classes by what is known of their costs, in an order of its own."""
    shared: dict[int, tuple[OwnCost, list[int]]] = {}
    for index, known in menu.unusable_cost.items():
        if menu.curve[index] < 0:
            shared.setdefault(id(known), (known, []))[1].append(index)
    groups = [
        Own(np.array(classes), math.fsum(menu.weight[classes].tolist()), known)
        for known, classes in shared.values()
    ]
    return tuple(sorted(groups, key=lambda group: (group.weight, repr(group.known))))


def _total(weight: FloatArray, each: FloatArray) -> float:
    """`sum(weight * each)`, correctly rounded, whatever the order."""
    product = weight * each
    # whole numbers add up exactly in any order
    if bool((product == np.rint(product)).all()) and float(product.sum()) < 2**53:
        return float(product.sum())
    return math.fsum(product.tolist())


def _mass(curve: IntArray, weight: FloatArray, M: int) -> FloatArray:
    """Weight on each curve, summed in an order that does not depend on that of the classes."""
    if bool((weight == np.rint(weight)).all()):  # whole numbers add up exactly in any order
        return np.bincount(curve, weight, M).astype(np.float64)
    order = np.lexsort((weight, curve))
    return np.bincount(curve[order], weight[order], M).astype(np.float64)


def _at(column: FloatArray, rung: IntArray) -> FloatArray:
    """A rung column per class, 0 where the class has no rung."""
    return np.where(rung >= 0, column[np.maximum(rung, 0)], 0.0)
