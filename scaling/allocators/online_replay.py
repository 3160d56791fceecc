"""A stream of queries played through the price controller, against the best in hindsight."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scaling.allocators.allocate import allocate
from scaling.allocators.online import Ladder, PriceController
from scaling.curves import upper_hull
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from scaling.curves import FloatArray, IntArray, Menu


@dataclass(frozen=True)
class Replayed:
    """What a controller made of a stream of T queries.

    Attributes:
        budget: the total that it was given.
        spent: what was used.
        value: mean value per query of the actions served.
        hindsight: the largest mean value per query of any choice of actions for the queries that
            came whose expected cost is within the budget (the dual bound of the exact solve).
        static: that of the first price, kept all day, whatever it spends.
        static_spent: what that uses, in expectation.
        price: shape (T,), at which each query was served.
        rung: shape (T,), of the menu; -1 for nothing.
        used: shape (T,), what each query used.
    """

    budget: float
    spent: float
    value: float
    hindsight: float
    static: float
    static_spent: float
    price: FloatArray
    rung: IntArray
    used: FloatArray

    @property
    def off_budget(self) -> float:
        """Spending over the budget, minus 1."""
        return self.spent / self.budget - 1

    @property
    def regret(self) -> float:
        """Share of the value in hindsight that is lost; negative where more was spent than it had."""
        return 1 - self.value / self.hindsight


def play(
    menu: Menu,
    arrivals: ArrayLike,
    controller: PriceController,
    *,
    resource: str = "tokens",
    use: Callable[[int, int], float] | None = None,
    most: FloatArray | None = None,
    forecast: Callable[[int], int | None] | None = None,
) -> Replayed:
    """Serve a stream of queries, one by one, at the controller's price.

    Each query gets the rung of its class's hull that the controller chooses. The controller is
    changed, as it would be in service.

    Args:
        menu: what each class is offered; every class usable.
        arrivals: the class of each query, shape (T,).
        controller: at its start.
        resource: the priced one.
        use: what query number t uses of the resource on a rung of the menu; the expected cost of
            the rung where None.
        most: shape (N,), what rungs use at most, for a `hard` controller; their cost where None.
        forecast: asked before query number t for how many queries are then to come; None leaves the
            forecast as it is.

    Raises:
        UsageError: the menu lacks the resource, or has an unusable class.
        InputError: no query, or one of no class of the menu.
        InfeasibleError: the budget does not pay for the cheapest actions of the queries that came.
    """
    if resource not in menu.cost:
        raise UsageError(f"The menu has no cost in {resource}; it has: {', '.join(menu.cost)}.")
    if controller.served:
        raise UsageError("The controller has served queries already. Start with a new one.")
    if (menu.curve < 0).any():
        broken = int(np.flatnonzero(menu.curve < 0)[0])
        raise UsageError(f"Class {menu.class_name(broken)} has no actions. Leave it out.")
    came = np.asarray(arrivals)
    if came.ndim != 1 or not came.size or came.dtype.kind not in "iu":
        raise InputError("The arrivals are the classes' numbers, one or more, in one row.")
    if not 0 <= int(came.min()) <= int(came.max()) < menu.curve.size:
        raise InputError(
            f"The arrivals name classes {came.min()} to {came.max()}; the menu has 0 to "
            f"{menu.curve.size - 1}."
        )
    budget = controller.budget
    hull = upper_hull(menu.value, menu.cost[resource], menu.start, nothing=menu.skip)
    cost = menu.cost[resource]
    ceiling = cost if most is None else most
    rungs_of = [hull.index[hull.start[m] : hull.start[m + 1]] for m in menu.curve.tolist()]
    rungs_of = [rungs[rungs >= 0] for rungs in rungs_of]
    ladders = [
        Ladder.of(
            menu.value[rungs].tolist(),
            menu.cost[resource][rungs].tolist(),
            ceiling[rungs].tolist(),
            skip=menu.skip,
        )
        for rungs in rungs_of
    ]
    kept = np.array(
        [
            _rung(PriceController(budget, 1, controller.price), *each)
            for each in zip(ladders, rungs_of, strict=True)
        ]
    )
    rung, price, used = np.empty(came.size, np.int64), np.empty(came.size), np.empty(came.size)
    for t, c in enumerate(came.tolist()):
        if forecast is not None and (remaining := forecast(t)) is not None:
            controller.plan(remaining)
        price[t] = controller.price
        chosen = rung[t] = _rung(controller, ladders[c], rungs_of[c])
        spent = 0.0
        if chosen >= 0:
            spent = float(cost[chosen]) if use is None else use(t, chosen)
        used[t] = spent
        controller.charge(spent)
    served = np.where(rung >= 0, menu.value[rung], 0.0)
    counts = np.bincount(came, minlength=menu.curve.size)
    return Replayed(
        budget=budget,
        spent=math.fsum(used.tolist()),
        value=math.fsum(served.tolist()) / came.size,
        hindsight=_hindsight(menu, counts, budget, resource),
        static=float(counts @ _per(menu.value, kept)) / came.size,
        static_spent=float(counts @ _per(menu.cost[resource], kept)),
        price=price,
        rung=rung,
        used=used,
    )


def arrivals_of(mix: ArrayLike, volume: ArrayLike, *, seed: int = 0) -> IntArray:
    """A simulated day: the classes of queries, period after period.

    Args:
        mix: share of each class in each period, shape (H, C), positive sums.
        volume: queries of each period, whole numbers, shape (H,).
        seed: of the draw.

    Returns:
        Classes, shape (sum of volume,).

    Raises:
        InputError: shapes that do not fit, a negative share or volume, or a period without a share.
    """
    share, size = np.asarray(mix, dtype=np.float64), np.asarray(volume)
    if share.ndim != 2 or size.shape != share.shape[:1] or size.dtype.kind not in "iu":
        raise InputError(
            f"The mix has shape {share.shape} and the volume {size.shape}. Give shares by period and "
            "class, and a whole number of queries a period."
        )
    total = share.sum(axis=1)
    if not ((share >= 0).all() and (size >= 0).all() and (total > 0).all()):
        raise InputError("Shares and volumes are zero or more, and a period has a positive share.")
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            rng.choice(share.shape[1], count, p=row / row.sum())
            for row, count in zip(share, size.tolist(), strict=True)
        ]
    ).astype(np.int64)


def use_until_success(menu: Menu, first: ArrayLike, each: ArrayLike) -> Callable[[int, int], float]:
    """What queries use on a rung when they stop at their first success: `use` of `play`.

    Args:
        menu: with a column of samples.
        first: the attempt at which each query would first succeed, shape (T,).
        each: what a sample of each query uses, shape (T,).
    """
    samples = menu.action["samples"].tolist()
    attempt, amount = np.asarray(first).tolist(), np.asarray(each, dtype=np.float64).tolist()
    return lambda t, rung: min(attempt[t], samples[rung]) * amount[t]


def _rung(controller: PriceController, ladder: Ladder, rungs: IntArray) -> int:
    """The rung of the menu that is served, -1 for nothing."""
    chosen = controller.choose(ladder)
    return -1 if chosen is None else int(rungs[chosen])


def _per(column: FloatArray, rung: IntArray) -> FloatArray:
    return np.where(rung >= 0, column[rung], 0.0)


def _hindsight(menu: Menu, counts: IntArray, budget: float, resource: str) -> float:
    """Upper bound on the value of the queries that came, by the exact engine."""
    came = np.flatnonzero(counts)
    known = replace(
        menu,
        key={name: column[came] for name, column in menu.key.items()},
        weight=counts[came].astype(np.float64),
        curve=menu.curve[came],
        support={},
        cautions={},
        unusable_cost={},
    )
    return allocate(known, budget / int(counts.sum()), unit=resource, split=True).bound
