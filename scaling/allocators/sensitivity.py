"""Whether an allocation hangs on what a byte of memory traffic is charged.

eFLOPs are `FLOPs + I bytes`, and accelerators differ in I. For each I the plan is priced again, and the
budget that it then uses is spent anew: what changes is what hangs on I.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scaling.allocators.limit import Limit
from scaling.allocators.problem import Problem
from scaling.costs.kinetics import INTENSITIES
from scaling.curves import RESOURCES

if TYPE_CHECKING:
    from scaling.allocators.allocation import Allocation
    from scaling.curves import FloatArray, IntArray, Menu

_HANG = ("eflops", "seconds", "joules", "usd")
"""Resources whose amounts change with the intensity."""


def with_sensitivity(ladder: Menu, allocation: Allocation) -> Menu:
    """The ladder with the rows of `sensitivity` in the record of its cost model.

    As it is where no cost model charged a byte, where what is budgeted does not hang on it, or where
    there are limits of other kinds than budgets and amounts for each query.
    """
    menu, record = allocation.menu, ladder.provenance.get("cost_model")
    if menu is None or not priced_by_intensity(menu, allocation.priced_resource):
        return ladder
    if not all(limit.is_budget or _plain(limit) for limit in allocation.limits):
        return ladder
    kept = tuple(
        limit for limit in allocation.limits if _plain(limit) and limit.resource not in _HANG
    )
    rows = sensitivity(menu, ladder, allocation.chosen, kept)
    return replace(
        ladder,
        provenance={**ladder.provenance, "cost_model": {**(record or {}), "sensitivity": rows}},
    )


def _plain(limit: Limit) -> bool:
    return limit.scope == "each" and limit.resource in RESOURCES and not limit.where


def priced_by_intensity(menu: Menu, resource: str) -> bool:
    """Whether a menu's costs in `resource` come from a cost model that charges a byte."""
    record = menu.provenance.get("cost_model")
    known = isinstance(record, Mapping) and record.get("intensity") is not None
    return known and resource in _HANG and {"flops", "bytes", "eflops"} <= set(menu.cost)


def sensitivity(
    menu: Menu,
    ladder: Menu,
    chosen: IntArray,
    limits: tuple[Limit, ...] = (),
    intensities: tuple[float, ...] = INTENSITIES,
) -> list[dict[str, float]]:
    """An allocation at other charges for a byte.

    Args:
        menu: what it was chosen from, with `flops` and `bytes` among its costs.
        ladder: what it is written on, with the same classes.
        chosen: shape (C,), rungs of the ladder; -1 for nothing, -2 for the fallback, left out here.
        limits: on each query, of resources that do not hang on the intensity.
        intensities: FLOPs a byte.

    Returns:
        one row an intensity: `spent_eflops`, what the plan uses a query; `changed_share` of the
        queries, which would get another action for as much; and `gain`, what that would be worth.
        Both are 0 where nothing better is found.
    """
    served = np.flatnonzero((menu.curve >= 0) & (chosen >= -1))
    if not served.size:
        return []
    rest = replace(
        menu,
        key={name: column[served] for name, column in menu.key.items()},
        weight=menu.weight[served],
        curve=menu.curve[served],
        support={},
        cautions={},
        unusable_cost={},
    )
    share = rest.weight / rest.weight.sum()
    plan = {name: _at(ladder.cost[name], chosen[served]) for name in ("flops", "bytes")}
    worth = _at(ladder.value, chosen[served])
    rows = []
    for intensity in intensities:
        eflops = menu.cost["flops"] + intensity * menu.cost["bytes"]
        spent = float(share @ (plan["flops"] + intensity * plan["bytes"]))
        limit = Limit("eflops", "average", spent * (1 + 1e-12))
        again = Problem.of(replace(rest, cost={**menu.cost, "eflops": eflops}), (limit, *limits))
        best = again.answer(limit, split=False)
        gain = again.worth(best) - float(share @ worth)
        moved = np.zeros(served.size, dtype=bool)
        for name, column in plan.items():
            moved |= _at(menu.cost[name], best.rung) != column
        rows.append(
            {
                "intensity": intensity,
                "spent_eflops": spent,
                "changed_share": float(share @ moved) if gain > 0 else 0.0,
                "gain": max(0.0, gain),
            }
        )
    return rows


def _at(column: FloatArray, rung: IntArray) -> FloatArray:
    """A rung column per class, 0 for doing nothing."""
    return np.asarray(np.where(rung >= 0, column[np.maximum(rung, 0)], 0.0))
