"""Why a class got what it got: its steps against the shadow price."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.allocators.risk import within_each
from scaling.curves import BoolArray, FloatArray, Hull, Menu, upper_hull
from scaling.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scaling.allocators.allocation import Allocation

OUT_OF_REACH = 0.5
"""A class that gets the least is called hopeless where no action on offer is worth this much."""

Standing = Literal["hopeless", "least", "between", "next-in-line", "most", "only", "fallback"]

STANDINGS: dict[str, str] = {
    "hopeless": "it gets the least: nothing on offer gains enough for what it costs, and no action "
    "on offer is worth even 0.5",
    "least": "it gets the least: what more would gain is not worth its price",
    "between": "its last step is worth the price, and its next one is not",
    "next-in-line": "its next step is the first that the budget does not reach",
    "most": "it has its best action; more would gain nothing",
    "only": "it is offered one action",
    "fallback": "no usable group stands behind it, so it is served the fallback",
}
"""What a class's place on its ladder means."""

HOPELESS = {
    "code": "hopeless-class",
    "message": "this class gets the least that is on offer: no action gains enough for its cost at "
    "this budget, and none is worth even 0.5.",
}


@dataclass(frozen=True)
class Step:
    """A step between two neighbouring vertices of a class's hull.

    Attributes:
        action: what it leads to; None for doing nothing.
        value, cost: of that vertex.
        gain, extra: value and cost over the vertex before.
        marginal: `gain / extra`.
        budget: average budget at which the shadow price is that, about; None where it is not known.
    """

    action: Mapping[str, Any] | None
    value: float
    cost: float
    gain: float | None
    extra: float | None
    marginal: float | None
    budget: float | None = None


@dataclass(frozen=True)
class Explanation:
    """Why one class got what it got.

    Attributes:
        name: the class, in words.
        key: the class, by column; empty where there is one only.
        weight: its share of the traffic.
        standing: a code of `STANDINGS`.
        resource: what costs are counted in; None where several resources have a price, and costs
            are in units of value, each resource at its price.
        price: the shadow price, 1 where costs are in units of value; None where nothing binds.
        got: the step that led to its action, None where it is served the fallback.
        below: the vertex that it would fall back to.
        next: the vertex that it would get next.
        best: the last vertex.
        fills: whether its action was bought with what was left over, below the price.
        rungs: actions on offer to it.
        nonhull: those that no price selects, at most 20 of them; `n_nonhull` counts all.
    """

    name: str
    key: Mapping[str, Any]
    weight: float
    standing: Standing
    resource: str | None
    price: float | None
    got: Step | None
    below: Step | None
    next: Step | None
    best: Step | None
    fills: bool
    rungs: int
    n_nonhull: int
    nonhull: tuple[Mapping[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """The explanation as plain data, named as an allocation's document names it."""
        return {
            "class": dict(self.key),
            "weight": self.weight,
            "standing": self.standing,
            "why": STANDINGS[self.standing],
            "resource": self.resource,
            "price": self.price,
            **{
                name: None if step is None else asdict(step)
                for name, step in (
                    ("got", self.got),
                    ("below", self.below),
                    ("next", self.next),
                    ("best", self.best),
                )
            },
            "fills": self.fills,
            "menu": {
                "rungs": self.rungs,
                "nonhull": self.n_nonhull,
                "nonhull_actions": [dict(action) for action in self.nonhull],
            },
        }


def document(allocation: Allocation, found: Iterable[Explanation]) -> dict[str, Any]:
    """Explanations of classes of one allocation as plain data (`kind: "scaling-explanation"`)."""
    from scaling._version import __version__

    return {
        "schema_version": "1.0",
        "kind": "scaling-explanation",
        "maximise": allocation.ladder.maximise,
        "estimand": allocation.ladder.estimand,
        "classes": [each.document() for each in found],
        "tool": {"name": "scaling", "version": __version__},
    }


def explain(allocation: Allocation, index: int) -> Explanation:
    """Why class `index` got what it got.

    Steps are those of the hull of everything that was on offer to the class, not of the ladder.
    The budget of a step is what all classes' ladders use at its marginal as the price.

    Raises:
        UsageError: the allocation does not hold the menu that it was made from.
    """
    menu = allocation.menu
    if menu is None:
        raise UsageError("This allocation holds no menu, so nothing can be explained.")
    name = menu.class_name(index)
    key = menu.key_of(index)
    weight = float(menu.weight[index]) / math.fsum(menu.weight.tolist())
    resource, price = _priced(allocation)
    curve, chosen = int(menu.curve[index]), int(allocation.chosen[index])
    if curve < 0 or chosen == -2:
        return Explanation(
            name, key, weight, "fallback", resource, price, None, None, None, None,
            fills=False, rungs=0, n_nonhull=0, nonhull=(),
        )  # fmt: skip
    part = slice(int(menu.start[curve]), int(menu.start[curve + 1]))
    value, cost = menu.value[part], unit_cost(allocation, menu)[part]
    every = within_each(menu, allocation.limits)
    allowed = None if every is None else every[part]
    size = np.array([0, value.size])
    hull = upper_hull(value, cost, size, allowed=allowed, nothing=menu.skip)
    rungs = [int(i) for i in hull.index]
    at = _place(allocation, menu, index, rungs, part.start)

    def step(i: int, *, funded: bool = False) -> Step | None:
        if not 0 <= i < len(rungs):
            return None
        action = None if rungs[i] < 0 else menu.action_of(part.start + rungs[i])
        v, c = float(hull.value[i]), float(hull.cost[i])
        if i == 0:
            return Step(action, v, c, None, None, None)
        slope = float(hull.slope[i])
        gain, extra = v - float(hull.value[i - 1]), c - float(hull.cost[i - 1])
        return Step(
            action, v, c, gain, extra, slope, budget_at(allocation, slope) if funded else None
        )

    off = np.ones(value.size, dtype=bool) if allowed is None else allowed.copy()
    off[[i for i in rungs if i >= 0]] = False
    named = {
        tuple(action.items()): action
        for action in (menu.action_of(part.start + int(i)) for i in np.flatnonzero(off)[:200])
    }
    got = step(at)
    return Explanation(
        name=name,
        key=key,
        weight=weight,
        standing=_standing(at, hull, price),
        resource=resource,
        price=price,
        got=got,
        below=step(at - 1),
        next=step(at + 1, funded=True),
        best=step(len(rungs) - 1),
        fills=bool(
            price and got and got.marginal is not None and got.marginal < price * (1 - 1e-9)
        ),
        rungs=int(value.size if allowed is None else allowed.sum()),
        n_nonhull=int(off.sum()),
        nonhull=tuple(named.values())[:20],
    )


def hopeless(allocation: Allocation) -> BoolArray:
    """Which classes get the least on offer while no action of theirs is worth 0.5, shape (C,).

    Of doing nothing, where it is on offer, or else of the first rung: no step from there gains
    enough for its cost at the shadow price.
    """
    menu, price = allocation.ladder, _priced(allocation)[1]
    found = np.zeros(menu.curve.size, dtype=bool)
    if not price:
        return found
    cost = unit_cost(allocation, menu)
    usable = np.flatnonzero(menu.curve >= 0)
    first, end = menu.start[menu.curve[usable]], menu.start[menu.curve[usable] + 1]
    least = np.full(usable.size, -1) if menu.skip else first
    following = first if menu.skip else first + 1
    able = (allocation.chosen[usable] == least) & (following < end)
    for i in np.flatnonzero(able):
        low, high = int(least[i]), int(following[i])
        value_before, cost_before = (0.0, 0.0) if low < 0 else (menu.value[low], cost[low])
        gain, extra = menu.value[high] - value_before, cost[high] - cost_before
        best = float(menu.value[first[i] : end[i]].max())
        found[usable[i]] = best < OUT_OF_REACH and gain < price * extra * (1 - 1e-9)
    return found


def find_class(menu: Menu, text: str) -> int:
    """The class that `level=hard,task=MATH` names; of one class column the value alone will do.

    Raises:
        UsageError: no class, or several, fit.
    """
    columns = list(menu.key)
    if not columns:
        return 0
    asked: dict[str, str] = {}
    for part in text.split(",") if "=" in text else [f"{columns[0]}={text}"]:
        name, _, wanted = part.partition("=")
        asked[name.strip()] = wanted.strip()
    unknown = next((name for name in asked if name not in columns), None)
    if unknown is not None or ("=" not in text and len(columns) > 1):
        raise UsageError(
            f"No class column '{unknown or ''}' in '{text}'. Name a class by "
            f"{', '.join(f'{c}=VALUE' for c in columns)}."
        )
    fits = np.ones(menu.weight.size, dtype=bool)
    for name, wanted in asked.items():
        fits &= np.array([str(each) == wanted for each in menu.key[name].tolist()])
    found = np.flatnonzero(fits)
    if found.size == 1:
        return int(found[0])
    names = [menu.class_name(i) for i in (found[:10] if found.size else range(len(fits))[:10])]
    if found.size:
        raise UsageError(
            f"'{text}' names {found.size} classes ({'; '.join(names)}, ...). Add a column."
        )
    every = [menu.class_name(i).replace(", ", ",") for i in range(min(len(fits), 10_000))]
    near = did_you_mean(",".join(f"{n}={v}" for n, v in asked.items()), every)
    raise UsageError(f"No class is {text}. Classes: {'; '.join(names)}.{near}")


def unit_cost(allocation: Allocation, menu: Menu) -> FloatArray:
    """What rungs of a menu cost: of the priced resource or, where several have a price, at those."""
    prices = _prices(allocation)
    if len(prices) < 2:
        return menu.cost[allocation.priced_resource]
    total = np.zeros(menu.value.size)
    for name, price in prices.items():
        total += price * menu.cost[name]
    return total


def budget_at(allocation: Allocation, price: float) -> float | None:
    """Mean use of the priced resource per query where this were the price, by the ladders.

    None where several resources have a price, so that no one budget moves it.
    """
    if len(_prices(allocation)) > 1:
        return None
    menu = allocation.ladder
    cost = menu.cost[allocation.priced_resource]
    used = np.zeros(menu.curve.size)
    of_curve: dict[int, float] = {}
    for curve in np.unique(menu.curve[menu.curve >= 0]).tolist():
        low, high = int(menu.start[curve]), int(menu.start[curve + 1])
        v = np.concatenate(([0.0], menu.value[low:high]))
        c = np.concatenate(([0.0], cost[low:high]))
        slope = np.full(high - low, np.inf)
        np.divide(np.diff(v), np.diff(c), out=slope, where=np.diff(c) > 0)
        bought = np.flatnonzero(slope >= price * (1 - 1e-12))
        last = int(bought[-1]) if bought.size else -1
        of_curve[curve] = float(c[max(last, -1 if menu.skip else 0) + 1])
    for index, curve in enumerate(menu.curve.tolist()):
        if curve >= 0:
            used[index] = of_curve[curve]
        else:
            used[index] = allocation.fallback.cost_of(index)[allocation.priced_resource]
    total = math.fsum(menu.weight.tolist())
    return math.fsum((menu.weight * used).tolist()) / total


def _prices(allocation: Allocation) -> dict[str, float]:
    """Resource to its shadow price, where it has one above 0."""
    return {
        limit.resource: limit.price
        for limit in allocation.limits
        if limit.is_budget and limit.price
    }


def _priced(allocation: Allocation) -> tuple[str | None, float | None]:
    prices = _prices(allocation)
    if len(prices) > 1:
        return None, 1.0
    return allocation.priced_resource, allocation.price


def _place(allocation: Allocation, menu: Menu, index: int, rungs: list[int], start: int) -> int:
    """The vertex of a class's action; of a divided class that of its lower part.

    An action off the hull counts as the last vertex that costs no more.
    """
    rung, ladder = int(allocation.chosen[index]), allocation.ladder
    if rung < 0:
        return 0
    action = ladder.action_of(rung)
    for place, vertex in enumerate(rungs):
        if vertex >= 0 and menu.action_of(start + vertex) == action:
            return place
    own = float(unit_cost(allocation, ladder)[rung])
    cost = unit_cost(allocation, menu)
    below = [p for p, v in enumerate(rungs) if v < 0 or cost[start + v] <= own * (1 + 1e-12)]
    return below[-1] if below else 0


def _standing(at: int, hull: Hull, price: float | None) -> Standing:
    if hull.value.size == 1:
        return "only"
    if at == hull.value.size - 1:
        return "most"
    if price and hull.slope[at + 1] >= price * (1 - 1e-9):
        return "next-in-line"
    if at > 0:
        return "between"
    return "hopeless" if hull.value[-1] < OUT_OF_REACH else "least"
