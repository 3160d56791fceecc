"""The problem that a menu and its limits pose, and its answer for one binding budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.actions import Actions, nothing, own_costs_of
from scaling.allocators.allocation import Allocation, Fallback, Limit, Split
from scaling.allocators.price import Solution, best_of_curves, dual_bound, solve
from scaling.curves import BoolArray, FloatArray, Hull, IntArray, Menu, ladder, upper_hull
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


@dataclass(frozen=True)
class Own:
    """Unusable classes that share what is known of their own costs."""

    classes: IntArray
    weight: float
    known: OwnCost


@dataclass(frozen=True)
class Problem:
    """A menu with its masks, and what follows from them for every budget."""

    menu: Menu
    limits: tuple[Limit, ...]
    allowed: BoolArray | None
    usable: IntArray
    total: float  # weight of all classes
    unserved: float  # weight of the unusable ones
    mass: FloatArray  # (M,), weight on each curve
    actions: Actions
    own: tuple[Own, ...]
    pooled: float  # weight of the unusable classes of which no cost is known

    @classmethod
    def of(cls, menu: Menu, limits: tuple[Limit, ...]) -> Problem:
        """The problem of a whole menu.

        Raises:
            NotUsableError: no class is usable.
            InfeasibleError: the limits on each query leave a class nothing.
        """
        usable = np.flatnonzero(menu.curve >= 0)
        if not usable.size:
            raise NotUsableError(
                "No class can be served: none of the fitted groups is usable. "
                "See the cautions of the fit; more attempts or fewer groups may help."
            )
        allowed: BoolArray | None = None
        for limit in limits:
            if limit.scope == "each":
                within = menu.cost[limit.resource] <= limit.amount
                allowed = within if allowed is None else allowed & within
        weight = menu.weight
        mass = _mass(menu.curve[usable], weight[usable], menu.start.size - 1)
        if not menu.skip:
            _refuse_empty_classes(menu, limits, usable, allowed)
        own = _own(menu)
        pooled = menu.curve < 0
        for group in own:
            pooled[group.classes] = False
        problem = cls(
            menu,
            limits,
            allowed,
            usable,
            total=math.fsum(weight.tolist()),
            unserved=math.fsum(weight[menu.curve < 0].tolist()),
            mass=mass,
            actions=Actions.of(menu, mass, allowed),
            own=own,
            pooled=math.fsum(weight[pooled].tolist()),
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
        menu, f = self.menu, answer.fallback
        each = _at(menu.cost[resource], answer.rung)
        if f is not None:
            each[answer.rung == -2] = f.cost[resource]
            for group in self.own:
                each[group.classes] = own_costs_of(group.known, f)[resource]
        divided = answer.solution.divided
        if divided is not None and answer.upper is not None:
            i = int(self.usable[divided.index])
            more = menu.cost[resource][answer.upper]
            each[i] += divided.share * (more - each[i])
        return _total(menu.weight, each)

    def worth(self, answer: Answer) -> float:
        """Weighted mean value per query; what is not known counts as 0."""
        menu, f = self.menu, answer.fallback
        each = _at(menu.value, answer.rung)
        if f is not None:
            each[answer.rung == -2] = f.value
            for group in self.own:
                each[group.classes] = 0.0
        divided = answer.solution.divided
        if divided is not None and answer.upper is not None:
            i = int(self.usable[divided.index])
            each[i] += divided.share * (menu.value[answer.upper] - each[i])
        return _total(menu.weight, each) / self.total

    def realised(self, limit: Limit, answer: Answer) -> float:
        """What the answer uses, in the terms of the limit."""
        if limit.scope == "each":
            used = _at(self.menu.cost[limit.resource], answer.rung).max()
            if answer.upper is not None:
                used = max(used, self.menu.cost[limit.resource][answer.upper])
            if self.pooled and answer.fallback is not None:
                used = max(used, answer.fallback.cost[limit.resource])
            if answer.fallback is not None:
                for group in self.own:
                    used = max(used, own_costs_of(group.known, answer.fallback)[limit.resource])
            return float(used)
        return self._report(limit, self.use(limit.resource, answer))

    def answer(self, priced: Limit | None, *, split: bool, evenly: bool = False) -> Answer:
        """The best allocation where `priced` is the one limit that may bind.

        With `evenly` the even spend instead: of actions of one value the dearest that the average affords.
        """
        menu = self.menu
        resource = self.limits[0].resource if priced is None else priced.resource
        cost = menu.cost[resource]
        hull = upper_hull(menu.value, cost, menu.start, allowed=self.allowed, nothing=menu.skip)
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
            mass=self.mass, allowed=self.allowed, nothing=menu.skip,
        )  # fmt: skip
        if fallback is not None:
            bound += self.pooled * fallback.value
        answer = replace(answer, bound=bound / self.total)
        return self._or_even(answer, resource, budget, asked=evenly)

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

    def _or_even(
        self, answer: Answer, resource: str, budget: float, *, asked: bool = False
    ) -> Answer:
        """The even spend instead where it is better; in any case its value beside the answer."""
        menu = self.menu
        allowed = np.ones(menu.value.size, dtype=bool) if self.allowed is None else self.allowed
        for limit in self.limits:
            if limit.scope != "each":
                allowed = allowed & (menu.cost[limit.resource] <= limit.average)
        used = self.mass > 0
        if not menu.skip and bool((_count(menu, allowed)[used] == 0).any()):
            if asked:
                raise InfeasibleError(
                    "The even spend is not possible: some class has no action within the average "
                    "budget. Raise the budget, or allow doing nothing (--allow-skip)."
                )
            return answer
        value, cost = menu.value, menu.cost[resource]
        if asked:  # an action that is worth no more still belongs to an even spend
            value = value + _TILT * cost / max(float(cost.max()), 1e-300)
        hull = upper_hull(value, cost, menu.start, allowed=allowed, nothing=menu.skip)
        # the last vertex is the most valuable one; its cost is within the average budget
        last = np.diff(hull.start)[menu.curve[self.usable]] - 1
        solution = Solution(last, answer.solution.price)
        even = replace(self._answer(hull, solution), allowed=allowed, fallback=answer.fallback)
        uniform = self.worth(even)
        if (asked or uniform > self.worth(answer)) and self.use(resource, even) <= budget:
            return replace(even, bound=answer.bound, uniform=uniform, evenly=True)
        return replace(answer, uniform=uniform)

    # the fallback, and budgets that are too small

    def _fallback(self, resource: str, budget: float, cheapest: Answer) -> Fallback | None:
        """The best single action that the budget affords; None where none does.

        Where classes are served it, it also leaves the others their cheapest actions; if need be it
        is doing nothing where that is on offer, or else the cheapest action, affordable or not.
        """
        caps = self._caps()
        if not self.unserved:
            return self.actions.best(caps, resource, skip=self.menu.skip)
        spare = max(budget - self.use(resource, cheapest), 0.0) / self.unserved
        cost, within = self._unserved_cost()
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

    def _unserved_cost(self) -> tuple[Mapping[str, FloatArray], BoolArray]:
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
            if limit.scope == "each":
                within &= cost[limit.resource] <= limit.amount
        return within

    def _refuse_dear_classes(self) -> None:
        """Raise where no action keeps the limits on each query of all the unusable classes."""
        if self._unserved_cost()[1].any():
            return
        everything = Actions.of(self.menu, self.mass, None)
        for limit in self.limits:
            if limit.scope != "each":
                continue
            costs = [everything.own(group.known)[limit.resource] for group in self.own]
            dearest = np.max(costs, axis=0)
            smallest = float(np.maximum(dearest, everything.cost[limit.resource]).min())
            if smallest > limit.amount:
                at = int(np.argmax([each.min() for each in costs]))
                name = self.menu.class_name(int(self.own[at].classes[0]))
                raise InfeasibleError(
                    f"Class {name} has no usable group, and no action that it could be served "
                    f"instead uses at most {_exact(limit.amount)} {limit.resource}. The smallest "
                    f"feasible limit on each query is {_exact(smallest)}; or allow doing nothing "
                    "(--allow-skip).",
                    smallest=smallest,
                )
        name = self.menu.class_name(int(self.own[0].classes[0]))
        raise InfeasibleError(
            f"Class {name} has no usable group, and no single action keeps all the limits on each "
            "query of such classes. Raise one of them, or allow doing nothing (--allow-skip)."
        )

    def _caps(self) -> dict[str, float]:
        """Resource to the average budget per query."""
        return {limit.resource: limit.average for limit in self.limits if limit.scope != "each"}

    def _refuse_too_small(self, limit: Limit, needed: float) -> None:
        """Raise, naming the smallest budget that is feasible."""
        per = "per query" if limit.queries is None else f"for {limit.queries} queries"
        raise InfeasibleError(
            f"The budget of {_exact(limit.amount)} {limit.resource} {per} is too small: the "
            f"cheapest action of every class uses {_exact(self._report(limit, needed))}. Give at "
            "least that, or allow doing nothing (--allow-skip).",
            smallest=needed / self.total,
        )

    # the result

    def allocation(
        self, answer: Answer, priced: Limit | None, *, split: bool, seed: int
    ) -> Allocation:
        """The answer with its ladder, certificate and cautions."""
        menu, solution = self.menu, answer.solution
        resource = self.limits[0].resource if priced is None else priced.resource
        position = np.zeros(menu.curve.size, dtype=np.int64)
        position[self.usable] = solution.position
        reduced, chosen = ladder(menu, answer.hull, position, resource, allowed=answer.allowed)
        parts: tuple[Split, ...] = ()
        if solution.divided is not None:
            i = int(self.usable[solution.divided.index])
            lower = int(chosen[i])
            upper = lower + 1 if lower >= 0 else int(reduced.start[reduced.curve[i]])
            parts = (Split(i, lower, upper, solution.divided.share),)

        value = self.worth(answer)
        bound = max(answer.bound, value)
        limits = tuple(
            replace(
                limit,
                realised=self.realised(limit, answer),
                price=None if limit.scope == "each" else solution.price if limit is priced else 0.0,
            )
            for limit in self.limits
        )
        spent = {name: self.use(name, answer) / self.total for name in menu.cost}
        unspent = 0.0
        if priced is not None:
            unspent = max(priced.average - spent[resource], 0.0)
            if unspent <= 1e-12 * priced.average:
                unspent = 0.0
        hull = (
            answer.hull
            if not answer.evenly
            else upper_hull(
                menu.value, menu.cost[resource], menu.start, allowed=self.allowed, nothing=menu.skip
            )
        )
        off = self._off_hull(hull)
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
            n_menu=int(_count(menu, self.allowed)[self.mass > 0].sum()),
            n_nonhull=off.size,
            nonhull=tuple(_distinct([menu.action_of(rung) for rung in off[:200].tolist()])[:20]),
            spent=spent,
            unspent=unspent,
            unspent_cause=_cause(unspent, answer, split=split),
            fallback=self._with_own_cost(self._served(answer, resource)),
            cautions=self._cautions(answer),
            seed=seed,
        )

    def _served(self, answer: Answer, resource: str) -> Fallback:
        """The fallback, no dearer than the dearest action that some class gets."""
        if answer.fallback is None or self.unserved:
            return answer.fallback or nothing(self.menu)
        dearest = self.realised(Limit(resource, "each"), answer)
        if answer.fallback.cost[resource] <= dearest:
            return answer.fallback
        caps = {**self._caps(), resource: dearest}
        return self.actions.best(caps, resource, skip=self.menu.skip) or nothing(self.menu)

    def _with_own_cost(self, fallback: Fallback) -> Fallback:
        own: dict[int, Mapping[str, float]] = {}
        for group in self.own:
            own |= dict.fromkeys(group.classes.tolist(), own_costs_of(group.known, fallback))
        return replace(fallback, own_cost=own)

    def _off_hull(self, hull: Hull) -> IntArray:
        """Rungs on offer on curves in use that are no vertex of the hull."""
        menu = self.menu
        off = np.repeat(self.mass > 0, np.diff(menu.start))
        if self.allowed is not None:
            off &= self.allowed
        off[hull.index[hull.index >= 0]] = False
        return np.flatnonzero(off)

    def _cautions(self, answer: Answer) -> tuple[Mapping[str, str], ...]:
        menu = self.menu
        notes = list(menu.cautions.get(-1, ()))
        lost = menu.curve.size - self.usable.size
        if lost:
            unknown = sum(group.classes.size for group in self.own)
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


def _worth_of_unusable(lost: int, unknown: int) -> str:
    """What the caution says of the value of unusable classes."""
    if not unknown:
        return "their value is taken to be that of the other classes"
    whose = "their" if unknown == lost else f"of {unknown} of them the"
    return (
        f"{whose} value is not known and counts as 0 in the value, the bound and the even spend"
        + ("" if unknown == lost else "; that of the rest is taken to be that of the other classes")
    )


def _refuse_empty_classes(
    menu: Menu, limits: tuple[Limit, ...], usable: IntArray, allowed: BoolArray | None
) -> None:
    """Raise where the limits on each query leave a class without any action."""
    empty = usable[_count(menu, allowed)[menu.curve[usable]] == 0]
    if not empty.size:
        return
    name = menu.class_name(int(empty[0]))
    for limit in limits:
        if limit.scope != "each":
            continue
        cheapest = -best_of_curves(-menu.cost[limit.resource], menu.start)
        smallest = float(cheapest[menu.curve[usable]].max())
        if smallest > limit.amount:
            raise InfeasibleError(
                f"No action of class {name} uses at most {_exact(limit.amount)} {limit.resource}. "
                f"The smallest feasible limit on each query is {_exact(smallest)}; or allow doing "
                "nothing (--allow-skip).",
                smallest=smallest,
            )
    raise InfeasibleError(
        f"No action of class {name} meets all the limits on each query. "
        "Raise one of them, or allow doing nothing (--allow-skip)."
    )


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


def _count(menu: Menu, allowed: BoolArray | None) -> IntArray:
    """Rungs on offer on each curve."""
    if allowed is None:
        return np.diff(menu.start)
    before = np.zeros(allowed.size + 1, dtype=np.int64)
    np.cumsum(allowed, out=before[1:])
    return before[menu.start[1:]] - before[menu.start[:-1]]


def _at(column: FloatArray, rung: IntArray) -> FloatArray:
    """A rung column per class, 0 where the class has no rung."""
    return np.where(rung >= 0, column[np.maximum(rung, 0)], 0.0)


def _cause(unspent: float, answer: Answer, *, split: bool) -> str | None:
    if not unspent:
        return None
    if answer.solution.price == 0:
        return "every class has its best action; more budget buys nothing"
    if answer.evenly:
        return "the even spend is better here than any mix of larger and smaller steps"
    if split:
        return "rounding"
    return "no further step fits into what is left; split (--split) divides one class and uses it"


def _distinct(actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({tuple(action.items()): action for action in actions}.values())


def _exact(amount: float) -> str:
    """A number that reads back as itself."""
    return str(int(amount)) if float(amount).is_integer() and amount < 1e15 else repr(float(amount))
