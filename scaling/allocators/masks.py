"""What limits on each query leave of a menu, and which classes a limit is about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.price import best_of_curves
from scaling.curves import distinct, ranges
from scaling.errors import InfeasibleError

if TYPE_CHECKING:
    from scaling.allocators.limit import Limit
    from scaling.curves import BoolArray, FloatArray, IntArray, Menu


def masks(menu: Menu, limits: tuple[Limit, ...]) -> tuple[BoolArray | None, BoolArray]:
    """What limits on each query leave: the rungs on offer, and the curves that may do nothing.

    Classes of one curve are all meant by a limit, or none is (`apart`).
    """
    allowed: BoolArray | None = None
    idle = np.full(menu.start.size - 1, menu.skip)
    for limit in limits:
        if limit.scope != "each":
            continue
        within = np.asarray(_within(limit, limit.quantity(menu)))
        if limit.where:
            within = within | np.repeat(~curves_of(limit, menu), np.diff(menu.start))
        allowed = within if allowed is None else allowed & within
        if limit.sense == "min" and limit.amount > 0:
            idle &= ~curves_of(limit, menu)
    return allowed, idle


def _within(limit: Limit, amount: FloatArray) -> Any:
    return amount >= limit.amount if limit.sense == "min" else amount <= limit.amount


def curves_of(limit: Limit, menu: Menu) -> BoolArray:
    """The curves of the classes that a limit is about."""
    out = np.zeros(menu.start.size - 1, dtype=bool)
    curves = menu.curve[limit.members(menu)]
    out[curves[curves >= 0]] = True
    return out


def apart(menu: Menu, limits: tuple[Limit, ...]) -> Menu:
    """The menu with curves copied, so that a limit is about all classes of a curve or about none."""
    about = [limit.members(menu) for limit in limits if limit.where]
    if not about:
        return menu
    kind = np.zeros(menu.curve.size, dtype=np.int64)
    for members in about:
        kind = distinct(2 * kind + members)[1]
    usable = menu.curve >= 0
    code = menu.curve * (int(kind.max()) + 1) + kind
    units, place = distinct(code[usable])
    curve = np.full(menu.curve.size, -1, dtype=np.int64)
    curve[usable] = place
    return taken(menu, units // (int(kind.max()) + 1), curve)


def taken(menu: Menu, curves: IntArray, curve: IntArray) -> Menu:
    """The menu of some of the curves, copied; `curve` says which of them serves a class."""
    length = np.diff(menu.start)[curves]
    start = np.concatenate(([0], np.cumsum(length))).astype(np.int64)
    if curves.size == menu.start.size - 1 and bool((curves == np.arange(curves.size)).all()):
        return replace(menu, curve=curve)
    rung = ranges(menu.start[curves], menu.start[curves + 1])
    return menu.regrouped(rung, start, curve)


def refuse_empty_classes(
    menu: Menu,
    limits: tuple[Limit, ...],
    usable: IntArray,
    allowed: BoolArray | None,
    idle: BoolArray,
) -> None:
    """Raise where the limits on each query leave a class without any action."""
    curve = menu.curve[usable]
    empty = usable[(count(menu, allowed)[curve] == 0) & ~idle[curve]]
    if not empty.size:
        return
    name = menu.class_name(int(empty[0]))
    for limit in limits:
        if limit.scope != "each":
            continue
        sign = 1.0 if limit.sense == "min" else -1.0
        reach = sign * best_of_curves(sign * limit.quantity(menu), menu.start)
        reach = reach[menu.curve[np.intersect1d(usable, np.flatnonzero(limit.members(menu)))]]
        if limit.sense == "min" and reach.size and float(reach.min()) < limit.amount:
            raise InfeasibleError(
                f"No action of class {name} has a {limit.resource} of at least "
                f"{exact_text(limit.amount)}. The largest feasible minimum is "
                f"{exact_text(float(reach.min()))}; or leave out classes that cannot reach it.",
                smallest=float(reach.min()),
            )
        if limit.sense == "max" and reach.size and float(reach.max()) > limit.amount:
            smallest = float(reach.max())
            raise InfeasibleError(
                f"No action of class {name} uses at most {exact_text(limit.amount)} {limit.resource}. "
                f"The smallest feasible limit on each query is {exact_text(smallest)}; or allow doing "
                "nothing (--allow-skip).",
                smallest=smallest,
            )
    relaxed = _relaxed_masks(menu, limits, usable)
    ways = ", or ".join(
        f"{limit.words} would have to be {'at most' if limit.sense == 'min' else 'at least'} "
        f"{exact_text(relaxed[limit.words])}"
        for limit in limits
        if limit.words in relaxed
    )
    raise InfeasibleError(
        f"No action of class {name} meets all the limits on each query"
        + (f": {ways}; or" if ways else ". Relax several of them, or")
        + " allow doing nothing (--allow-skip).",
        relaxed=relaxed,
    )


def _relaxed_masks(menu: Menu, limits: tuple[Limit, ...], usable: IntArray) -> dict[str, float]:
    """What each limit on each query would have to be, the others being as they are."""
    relaxed: dict[str, float] = {}
    for limit in limits:
        if limit.scope != "each":
            continue
        allowed, idle = masks(menu, tuple(each for each in limits if each is not limit))
        sign = 1.0 if limit.sense == "min" else -1.0
        amount = sign * limit.quantity(menu)
        amount = amount if allowed is None else np.where(allowed, amount, -np.inf)
        reach = best_of_curves(amount, menu.start)
        reach = np.where(idle, np.maximum(reach, 0.0), reach)[menu.curve[usable]]
        if np.isfinite(reach).all():
            of = reach[limit.members(menu)[usable]]
            relaxed[limit.words] = abs(float(of.min()))
    return relaxed


def exact_text(amount: float) -> str:
    """A number that reads back as itself."""
    return str(int(amount)) if float(amount).is_integer() and amount < 1e15 else repr(float(amount))


def count(menu: Menu, allowed: BoolArray | None) -> IntArray:
    """Rungs on offer on each curve."""
    if allowed is None:
        return np.diff(menu.start)
    before = np.zeros(allowed.size + 1, dtype=np.int64)
    np.cumsum(allowed, out=before[1:])
    return before[menu.start[1:]] - before[menu.start[:-1]]
